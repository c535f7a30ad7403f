/**
 * The launcher, run as npm scripts run it (`node scripts/launch.mjs`) in a temporary project whose
 * npm is a small program of ours: it notes each call and makes the files that an installation would make.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";

const projectRoot = path.resolve(import.meta.dirname, "../../..");
const planted: string[] = [];

afterEach(() => {
  for (const folder of planted.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** Stands for npm: `ci` makes packages and npm's record, `rebuild node` makes the pinned Node. */
const fakeNpm = `
import fs from "node:fs";
const [command, ...args] = process.argv.slice(2);
fs.appendFileSync("npm-calls.txt", [command, ...args].join(" ") + "\\n");
const behave = JSON.parse(fs.readFileSync("behave.json", "utf8"));
console.log("words of npm");
if (behave.slowMs) await new Promise((done) => setTimeout(done, behave.slowMs));
if (behave[command]) process.exit(behave[command]);
if (command === "ci") {
  fs.rmSync("node_modules", { recursive: true, force: true });
  for (const name of ["better-sqlite3", "onnxruntime-node", "node"]) {
    fs.mkdirSync("node_modules/" + name, { recursive: true });
    fs.writeFileSync("node_modules/" + name + "/package.json", "{}");
  }
  fs.copyFileSync("package-lock.json", "node_modules/.package-lock.json");
}
if (command === "rebuild") {
  fs.mkdirSync("node_modules/.bin", { recursive: true });
  fs.symlinkSync(behave.node ?? process.execPath, "node_modules/.bin/node");
}
`;

const program = `
/** Shows what it was given. */
if (process.argv[2] === "wait") {
  process.on("SIGTERM", () => { console.log("terminated"); process.exit(7); });
  setInterval(() => {}, 1000);
}
console.log(JSON.stringify({ args: process.argv.slice(2), path: process.env.PATH }));
if (process.argv[2] === "die") process.kill(process.pid, "SIGKILL");
else process.exitCode = 5;
`;

function lockFile(version: string): string {
  const packages = {
    "": { name: "planted" },
    "node_modules/a": { version, integrity: `sha512-${version}` },
    "node_modules/for-windows": { version: "1.0.0", integrity: "sha512-w", optional: true },
  };
  return JSON.stringify({ packages });
}

interface Behaviour {
  readonly ci?: number;
  readonly rebuild?: number;
  readonly ping?: number;
  readonly slowMs?: number;
  readonly node?: string;
}

function plant(behave: Behaviour = {}): string {
  const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "fleetfit-launch-")));
  planted.push(root);
  fs.mkdirSync(path.join(root, "scripts"));
  fs.copyFileSync(
    path.join(projectRoot, "scripts/launch.mjs"),
    path.join(root, "scripts/launch.mjs"),
  );
  const files = {
    "npm/npm-cli.js": fakeNpm,
    "npm/package.json": '{"type":"module"}',
    "behave.json": JSON.stringify(behave),
    "package-lock.json": lockFile("1.0.0"),
    "scripts/program.mjs": program,
  };
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  }
  return root;
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(root: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, ["scripts/launch.mjs", "scripts/program.mjs", ...args], {
    cwd: root,
    env: { ...process.env, npm_execpath: path.join(root, "npm/npm-cli.js") },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function ended(child: ChildProcess): Promise<Ended> {
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    err += chunk;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

function launch(root: string, ...args: string[]): Promise<Ended> {
  return ended(start(root, args));
}

function calls(root: string): string[] {
  const file = path.join(root, "npm-calls.txt");
  if (!fs.existsSync(file)) return [];
  return fs
    .readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "");
}

function holdLock(root: string, holder: string, ageMs: number): string {
  const lock = path.join(root, ".cache/install.lock");
  fs.mkdirSync(lock, { recursive: true });
  fs.writeFileSync(path.join(lock, "holder"), holder);
  const time = new Date(Date.now() - ageMs);
  fs.utimesSync(lock, time, time);
  return lock;
}

test("installs once, passes arguments on, and ends with the program's exit code", async () => {
  const root = plant();
  const first = await launch(root, "a b", "--c");
  expect(first).toMatchObject({ code: 5 });
  const shown = JSON.parse(first.out);
  expect(shown.args).toEqual(["a b", "--c"]);
  expect(shown.path.startsWith(path.join(root, "node_modules/.bin"))).toBe(true);
  expect(first.err).toContain("words of npm");
  expect(calls(root)).toEqual(["ci", "rebuild"]);
  const all = fs.readFileSync(path.join(root, "npm-calls.txt"), "utf8");
  expect(all).toMatch(/^ci .*--include=dev .*--ignore-scripts /);
  expect(all).toMatch(/^rebuild node --ignore-scripts=false /m);
  expect(await launch(root)).toMatchObject({ code: 5, err: "" });
  expect(calls(root)).toEqual(["ci", "rebuild"]);
  expect(fs.readdirSync(path.join(root, ".cache"))).toEqual([]);
});

test("a new lock file installs again, unless npm has already installed what it names", async () => {
  const root = plant();
  await launch(root);
  fs.writeFileSync(path.join(root, "package-lock.json"), lockFile("2.0.0"));
  await launch(root);
  expect(calls(root)).toEqual(["ci", "rebuild", "ci", "rebuild"]);
  fs.writeFileSync(path.join(root, "package-lock.json"), lockFile("3.0.0"));
  fs.writeFileSync(path.join(root, "node_modules/.package-lock.json"), lockFile("3.0.0"));
  await launch(root);
  expect(calls(root)).toHaveLength(4);
});

test("a missing package installs again, a missing Node only itself", async () => {
  const root = plant();
  await launch(root);
  fs.rmSync(path.join(root, "node_modules/.bin/node"));
  await launch(root);
  expect(calls(root)).toEqual(["ci", "rebuild", "rebuild"]);
  fs.rmSync(path.join(root, "node_modules/onnxruntime-node"), { recursive: true });
  await launch(root);
  expect(calls(root)).toEqual(["ci", "rebuild", "rebuild", "ci", "rebuild"]);
});

test("two starts at the same moment install once", async () => {
  const root = plant({ slowMs: 700 });
  const both = await Promise.all([launch(root), launch(root)]);
  expect(both.map((end) => end.code)).toEqual([5, 5]);
  expect(calls(root)).toEqual(["ci", "rebuild"]);
  expect(both.map((end) => end.err).join()).toContain("another start is installing");
});

test("a lock whose holder is gone, or that nobody touches any more, is taken", {
  // Less than the time after which a silent lock counts as stale.
  timeout: 40_000,
}, async () => {
  const gone = execFileSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }).trim();
  const dead = plant();
  holdLock(dead, `${os.hostname()} ${gone} x\n`, 0);
  expect(await launch(dead)).toMatchObject({ code: 5 });
  const silent = plant();
  holdLock(silent, "another-machine 1 x\n", 120_000);
  expect(await launch(silent)).toMatchObject({ code: 5 });
});

test("a lock that is held is waited for", async () => {
  const root = plant();
  const lock = holdLock(root, `${os.hostname()} ${process.pid} x\n`, 0);
  const child = start(root, []);
  const end = ended(child);
  await new Promise((resolve) => child.stderr?.once("data", resolve));
  expect(calls(root)).toEqual([]);
  fs.rmSync(lock, { recursive: true });
  expect(await end).toMatchObject({ code: 5 });
});

test("a failing npm is a coded error and leaves no stamp", async () => {
  const offline = plant({ ci: 1, ping: 1 });
  const unreachable = await launch(offline);
  expect(unreachable).toMatchObject({ code: 1, out: "" });
  expect(unreachable.err).toContain("fleetfit: registry-unreachable: ");
  const broken = await launch(plant({ ci: 1 }));
  expect(broken).toMatchObject({ code: 1 });
  expect(broken.err).toContain("fleetfit: install-failed: ");
  fs.writeFileSync(path.join(offline, "behave.json"), "{}");
  expect(await launch(offline)).toMatchObject({ code: 5 });
});

test("a pinned Node that does not start is a coded error", async () => {
  const end = await launch(plant({ node: "/bin/false" }));
  expect(end).toMatchObject({ code: 1 });
  expect(end.err).toContain("fleetfit: install-failed: The pinned Node does not start");
});

test("signals reach the program, and a program that a signal ended gives 128 and its number", async () => {
  const root = plant();
  const child = start(root, ["wait"]);
  const end = ended(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  child.kill("SIGTERM");
  const { code, out } = await end;
  expect(code).toBe(7);
  expect(out).toContain("terminated");
  expect((await launch(root, "die")).code).toBe(128 + 9);
});

test("a signal during the installation ends it and starts nothing", async () => {
  const root = plant({ slowMs: 20_000 });
  const child = start(root, []);
  const end = ended(child);
  while (calls(root).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGTERM");
  expect(await end).toMatchObject({ code: 128 + 15, out: "" });
  expect(fs.existsSync(path.join(root, ".cache/install.lock"))).toBe(false);
});
