/**
 * Starts a TypeScript file of this project with the pinned Node, on a bare machine too. This is plain
 * JavaScript without imports from packages because it runs on the system's Node (20 or newer) before
 * anything is installed. Usage: `node scripts/launch.mjs <file.ts> [arguments …]`.
 *
 * Invariants: packages come from the lock file alone (`npm ci`) and run no scripts of their own while
 * they are installed; only the pinned `node` package may, since its script places the binary. The
 * stamp is written last, so an installation that was cut off is repeated. Two starts at the same
 * moment install once. The started program gets the arguments, the streams and the signals, and its
 * exit code becomes ours.
 */
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const nodeMajorMin = 20;
/** The holder of the lock touches it this often; both numbers are ours, with a wide margin between. */
const heartbeatMs = 2_000;
const lockStaleMs = 60_000;
/** A first installation took 40 s here; on a slow link it may take many minutes. */
const lockWaitMs = 20 * 60_000;
const lockPollMs = 500;
const pingTimeoutMs = 15_000;
const forwardedSignals = ["SIGINT", "SIGTERM", "SIGHUP"];

const projectRoot = path.dirname(path.dirname(fs.realpathSync(fileURLToPath(import.meta.url))));

/** A failure that the person at the terminal can do something about; codes are in docs/errors.md. */
class LaunchError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** A signal ended the installation, so the program is not started. */
class Interrupted extends Error {
  constructor(signal) {
    super(signal);
    this.exitCode = signalExitCode(signal);
  }
}

/**
 * Installs what is missing below `root`, runs `file` (relative to `root`) with `args` and resolves to
 * the exit code. Never rejects: failures are printed with their code and give exit code 1.
 */
export async function launch(file, args, root = projectRoot) {
  try {
    checkNode(process.versions.node);
    await ensureInstalled(root);
    return await runProgram(root, file, args);
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    if (!(error instanceof LaunchError)) throw error;
    process.stderr.write(`fleetfit: ${error.code}: ${error.message}\n`);
    return 1;
  }
}

function checkNode(version) {
  if (Number.parseInt(version, 10) >= nodeMajorMin) return;
  throw new LaunchError(
    "node-too-old",
    `Node ${version} starts this, ${nodeMajorMin} or newer is needed. Install a newer Node from https://nodejs.org and repeat the command.`,
  );
}

function locations(root) {
  const modules = path.join(root, "node_modules");
  const windows = process.platform === "win32";
  return {
    lockFile: path.join(root, "package-lock.json"),
    modules,
    stamp: path.join(modules, ".fleetfit-lock-sha256"),
    installedLock: path.join(modules, ".package-lock.json"),
    binaries: path.join(modules, ".bin"),
    // On Windows `.bin` holds scripts for the shell, so the program itself is named there.
    node: windows
      ? path.join(modules, "node", "bin", "node.exe")
      : path.join(modules, ".bin", "node"),
    required: ["better-sqlite3", "onnxruntime-node", "node"].map((name) =>
      path.join(modules, name, "package.json"),
    ),
    installLock: path.join(root, ".cache", "install.lock"),
  };
}

async function ensureInstalled(root) {
  const at = locations(root);
  if (missingPart(at) === null) return;
  const release = await takeLock(at.installLock);
  try {
    // Another start may have installed everything while this one waited for the lock.
    if (missingPart(at) === "packages") await installPackages(root, at);
    if (missingPart(at) === "runtime") await installRuntime(root, at);
  } finally {
    release();
  }
}

/** What has to be installed: "packages", then "runtime" (the pinned Node), or null for nothing. */
function missingPart(at) {
  if (!at.required.every((file) => fs.existsSync(file))) return "packages";
  const digest = createHash("sha256").update(fs.readFileSync(at.lockFile)).digest("hex");
  if (readText(at.stamp)?.trim() !== digest) {
    if (!holdsEverything(at)) return "packages";
    writeAtomically(at.stamp, `${digest}\n`);
  }
  return fs.existsSync(at.node) ? null : "runtime";
}

/**
 * True when npm's own record of node_modules has every package of the lock file in its version: then
 * somebody has run `npm install`, and installing again would only pull files from under running programs.
 */
function holdsEverything(at) {
  const record = readText(at.installedLock);
  if (record === null) return false;
  const installed = JSON.parse(record).packages;
  const wanted = JSON.parse(fs.readFileSync(at.lockFile, "utf8")).packages;
  return Object.entries(wanted).every(([location, entry]) => {
    const found = installed[location];
    // Packages for other platforms are optional and rightly absent.
    if (location === "" || (found === undefined && entry.optional)) return true;
    return found?.version === entry.version && found.integrity === entry.integrity;
  });
}

async function installPackages(root, at) {
  process.stderr.write("fleetfit: installing packages (npm ci), once per lock file …\n");
  const flags = ["--include=dev", "--ignore-scripts", "--engine-strict=false", "--loglevel=error"];
  const code = await runNpm(root, ["ci", ...flags, "--no-audit", "--no-fund"]);
  if (code !== 0) throw await installFailure(root, "npm ci", code);
  if (!holdsEverything(at)) {
    throw new LaunchError(
      "install-failed",
      "npm ci ended well, but node_modules does not hold what package-lock.json names. Delete node_modules and repeat the command.",
    );
  }
}

/** Runs the script of the `node` package, which fetches the binary for this platform, and links it. */
async function installRuntime(root, at) {
  process.stderr.write("fleetfit: installing the pinned Node …\n");
  const flags = ["--ignore-scripts=false", "--engine-strict=false", "--loglevel=error"];
  const code = await runNpm(root, ["rebuild", "node", ...flags], ["ignore", "ignore", 2]);
  if (code !== 0) throw await installFailure(root, "npm rebuild node", code);
  const started = await installerCode(at.node, ["--version"], { stdio: "ignore" });
  if (started === 0) return;
  throw new LaunchError(
    "install-failed",
    `The pinned Node does not start on this machine (${process.platform} ${process.arch}). The package \`node\` has binaries for Linux with glibc, macOS and Windows on x64 and arm64.`,
  );
}

async function installFailure(root, command, code) {
  const ping = ["ping", "--loglevel=silent", "--fetch-retries=0"];
  const reached = await runNpm(root, [...ping, `--fetch-timeout=${pingTimeoutMs}`], "ignore");
  if (reached === 0) {
    return new LaunchError(
      "install-failed",
      `\`${command}\` ended with code ${code}; npm's own words are above. Correct what they name (disk space, permissions, a changed lock file) and repeat the command.`,
    );
  }
  return new LaunchError(
    "registry-unreachable",
    `\`${command}\` ended with code ${code} because the npm registry does not answer. Check the network, the proxy and \`npm config get registry\`, then repeat the command: what was fetched is kept.`,
  );
}

/**
 * Runs the npm that runs us, else the one on PATH; resolves to its exit code. Its words go to the error
 * stream, because the standard output belongs to the started program.
 */
function runNpm(root, args, stdio = ["ignore", 2, 2]) {
  const node = steadyNode(root);
  const given = process.env.npm_execpath;
  const options = { cwd: root, stdio };
  if (given && /npm-cli\.c?js$/.test(given) && fs.existsSync(given)) {
    return installerCode(node, [given, ...args], options);
  }
  return process.platform === "win32"
    ? installerCode("npm.cmd", args, { ...options, shell: true })
    : installerCode("npm", args, options);
}

/** The system's Node: npm runs with one that an installation does not replace. */
function steadyNode(root) {
  const inside = path.join(root, "node_modules") + path.sep;
  const name = process.platform === "win32" ? "node.exe" : "node";
  const onPath = (process.env.PATH ?? "").split(path.delimiter).map((dir) => path.join(dir, name));
  const candidates = [process.env.npm_node_execpath, process.execPath, ...onPath];
  const steady = candidates.find(
    (file) => file && fs.existsSync(file) && !fs.realpathSync(file).startsWith(inside),
  );
  return steady ?? process.execPath;
}

/** Our environment with `directory` searched first for programs. */
function envWithPath(directory) {
  // On Windows the variable is called Path, and a copy of the environment tells the cases apart.
  const name = Object.keys(process.env).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
  return {
    ...process.env,
    [name]: [directory, process.env[name]].filter(Boolean).join(path.delimiter),
  };
}

/** Exit code of a child of the installation: 127 when it cannot be started, 1 when a signal ended it. */
async function installerCode(command, args, options) {
  try {
    const ended = await runChild(command, args, options, forwardedSignals);
    if (ended.received !== null) throw new Interrupted(ended.received);
    return ended.code ?? 1;
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "EACCES") return 127;
    throw error;
  }
}

/**
 * Runs a child to its end and hands the signals in `forwarded` on to it. `received` is the last signal
 * that came to us meanwhile, or null.
 */
function runChild(command, args, options, forwarded) {
  const child = spawn(command, args, options);
  let received = null;
  const listeners = forwardedSignals.map((signal) => {
    const listener = () => {
      received = signal;
      if (forwarded.includes(signal)) child.kill(signal);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve({ code, signal, received }));
  }).finally(() => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  });
}

/**
 * Takes the lock directory (mkdir is atomic) and returns its release. A lock whose holder is gone, or
 * that nobody has touched for `lockStaleMs`, is taken away from its holder.
 */
async function takeLock(lock) {
  fs.mkdirSync(path.dirname(lock), { recursive: true });
  const deadline = Date.now() + lockWaitMs;
  for (let told = false; ; await sleep(lockPollMs)) {
    if (makeLock(lock)) return holdLock(lock);
    const holder = readText(path.join(lock, "holder"));
    if (isStale(lock, holder)) {
      removeStale(lock, holder);
      continue;
    }
    if (Date.now() > deadline) {
      throw new LaunchError(
        "install-busy",
        `Another start has been installing packages for too long. If none is running, delete ${lock} and repeat the command.`,
      );
    }
    if (!told) process.stderr.write("fleetfit: another start is installing packages; waiting …\n");
    told = true;
  }
}

function makeLock(lock) {
  try {
    fs.mkdirSync(lock);
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
  fs.writeFileSync(path.join(lock, "holder"), `${os.hostname()} ${process.pid} ${randomUUID()}\n`);
  return true;
}

function holdLock(lock) {
  const timer = setInterval(() => {
    const now = new Date();
    fs.utimes(lock, now, now, () => {});
  }, heartbeatMs);
  return () => {
    clearInterval(timer);
    fs.rmSync(lock, { recursive: true, force: true });
  };
}

function isStale(lock, holder) {
  const stat = fs.statSync(lock, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.mtimeMs > lockStaleMs) return true;
  const [host, pid] = (holder ?? "").split(" ");
  return host === os.hostname() && !isAlive(Number(pid));
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/**
 * Renames before deleting: of two starts that see the same stale lock only one takes it away, and one
 * that came too late and caught the lock of the next holder puts it back.
 */
function removeStale(lock, holder) {
  const grave = `${lock}.${randomUUID()}`;
  try {
    fs.renameSync(lock, grave);
    if (readText(path.join(grave, "holder")) === holder) {
      fs.rmSync(grave, { recursive: true, force: true });
    } else {
      fs.renameSync(grave, lock);
    }
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

async function runProgram(root, file, args) {
  const at = locations(root);
  // Ctrl-C reaches the whole foreground group, the program included: a second copy would read as "now".
  const terminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  const forwarded = forwardedSignals.filter((signal) => signal !== "SIGINT" || !terminal);
  const env = envWithPath(at.binaries);
  // Measured here: the modules of the controller load in 480 ms instead of 710 ms, in every process.
  env.NODE_COMPILE_CACHE ??= path.join(at.modules, ".cache", "compile");
  const options = { stdio: "inherit", env };
  const ended = await runChild(at.node, [path.resolve(root, file), ...args], options, forwarded);
  return ended.code ?? signalExitCode(ended.signal);
}

/** What a shell reports for a program that a signal ended. */
function signalExitCode(signal) {
  return 128 + (os.constants.signals[signal] ?? 0);
}

function readText(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}

function writeAtomically(file, text) {
  const draft = `${file}.${process.pid}`;
  fs.writeFileSync(draft, text);
  fs.renameSync(draft, file);
}

const startedDirectly =
  process.argv[1] !== undefined &&
  import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href;
if (startedDirectly) {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) {
    process.stderr.write("usage: node scripts/launch.mjs <file.ts> [arguments …]\n");
    process.exitCode = 2;
  } else {
    process.exitCode = await launch(file, args);
  }
}
