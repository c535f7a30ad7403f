/** The command line against a real controller: what an operator types from the first model on. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stringify } from "yaml";
import type { RunningController } from "../../controller/controller.ts";
import { decodeClaimToken } from "../../shared/protocol/claim-token.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
const dataDir = join(folder, "data");
const golden = join(folder, "golden");
let controller: RunningController;

beforeAll(async () => {
  controller = await startTestController(dataDir);
  mkdirSync(golden);
  for (const [name, bytes] of Object.entries(tinyGolden()))
    writeFileSync(join(golden, name), bytes);
  writeFileSync(join(folder, "tiny.onnx"), tinyModelBytes());
  writeFileSync(join(folder, "tiny.yaml"), stringify(tinyInterface));
});
afterAll(async () => {
  await controller.stop();
  remove();
});

const fleetfit = (...args: string[]) => fleetfitCommand(args, dataDir);

const importArgs = (version: string) => [
  ...["model", "import", join(folder, "tiny.onnx"), "--name", "tiny", "--version", version],
  ...["--golden", join(golden, "golden.json"), "--interface", join(folder, "tiny.yaml")],
];

it("imports a model and compresses it", async () => {
  const imported = await fleetfit(...importArgs("1"));
  expect(imported).toMatchObject({
    exitCode: 0,
    out: expect.stringContaining("fleetfit compress tiny 1"),
  });
  expect((await fleetfit("model", "list")).out).toMatch(/tiny/);
  expect((await fleetfit("model", "show", "tiny")).out).toMatch(/x uint8 \[8,8\].*4 classes/);

  const compressed = await fleetfit("compress", "tiny", "1", "--no-measure");
  expect(compressed.exitCode).toBe(0);
  expect(compressed.out).toMatch(/int8-static .*ready/);
  expect(compressed.out).toContain("On processors that are not here");
  expect(compressed.err).toMatch(/^compress: /);
  const again = await fleetfit("compress", "tiny", "1", "--no-measure", "--json");
  const { variants, choices } = JSON.parse(again.out);
  expect(variants).toHaveLength(controller.ctx.fleet.recipes.length);
  expect(choices).toEqual([]);
});

it("says why nothing can be measured yet", async () => {
  const { exitCode, err } = await fleetfit("compress", "tiny", "1");
  expect(exitCode).toBe(1);
  expect(err).toMatch(/fleetfit: not-found: nothing to measure for tiny 1/);
});

it("holds the installs of a region, lists it and releases it", async () => {
  const held = await fleetfit("hold", "set", "--region", "eu-west", "--reason", "recall");
  expect(held).toMatchObject({
    exitCode: 0,
    out: "eu-west: installs are held (known to 0 of 0).",
  });
  const all = await fleetfit("hold", "set", "--all", "--reason", "everything");
  expect(all.out).toMatch(/^all devices: installs are held/);
  const listed = JSON.parse((await fleetfit("hold", "list", "--json")).out);
  expect(listed.holds).toMatchObject([
    { scope: { kind: "tenant" }, held: true, sequence: 1, reason: "everything" },
    { scope: { kind: "region", region: "eu-west" }, held: true, sequence: 1 },
  ]);
  for (const scope of [["--all"], ["--region", "eu-west"]]) {
    const over = await fleetfit("hold", "release", ...scope, "--reason", "over");
    expect(over.out).toMatch(/released/);
  }
  expect((await fleetfit("hold", "list")).out).toMatch(/eu-west.*released.*over.*known to 0 of 0/);
  const nowhere = await fleetfit("hold", "set", "--region", "mars", "--reason", "dust");
  expect(nowhere).toMatchObject({ exitCode: 1, err: expect.stringContaining("not-found") });
  const both = await fleetfit("hold", "set", "--all", "--region", "eu-west", "--reason", "x");
  expect(both).toMatchObject({ exitCode: 1, err: expect.stringContaining("input-invalid") });
  expect((await fleetfit("hold", "set", "--all")).exitCode).toBe(2);
});

it("writes a claim token that only its owner may read, and never shows it beside", async () => {
  const path = join(folder, "camera.claim");
  const args = [
    "device",
    "claim",
    "--region",
    "eu-west",
    "--device",
    "camera-1",
    "--label",
    "role=lab",
  ];
  const { exitCode, out } = await fleetfit(...args, "--out", path, "--json");
  expect(exitCode).toBe(0);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const token = readFileSync(path, "utf8");
  expect(decodeClaimToken(token).mqttUrl).toBe(controller.mqttUrl);
  expect(out).not.toContain(token.trim());
  const unknown = await fleetfit("device", "claim", "--region", "nowhere");
  expect(unknown).toMatchObject({ exitCode: 1, err: expect.stringContaining("not-found") });
});

it("keeps a claim file private though it was not, and makes no claim that it cannot keep", async () => {
  const path = join(folder, "shared.claim");
  writeFileSync(path, "yesterday's", { mode: 0o644 });
  const claim = (...more: string[]) => fleetfit("device", "claim", "--region", ...more);
  expect((await claim("nowhere", "--out", path)).exitCode).toBe(1);
  expect(readFileSync(path, "utf8")).toBe("yesterday's");
  expect(existsSync(`${path}.new`)).toBe(false);
  expect((await claim("eu-west", "--out", path)).exitCode).toBe(0);
  expect(statSync(path).mode & 0o777).toBe(0o600);

  const claims = () => controller.ctx.db.selectFrom("claims").select("id").execute();
  const before = await claims();
  const failed = await claim("eu-west", "--out", join(folder, "missing", "x.claim"));
  expect(failed).toMatchObject({
    exitCode: 1,
    err: expect.stringContaining("fleetfit: file-unusable: "),
  });
  expect(await claims()).toEqual(before);
});

it("has codes for interfaces that are no YAML and files that are not there", async () => {
  const broken = join(folder, "broken.yaml");
  writeFileSync(broken, "inputs: [");
  const args = importArgs("2");
  const notYaml = await fleetfit(...args.with(-1, broken));
  expect(notYaml).toMatchObject({ exitCode: 1, err: expect.stringContaining("input-invalid") });
  const missing = await fleetfit(...args.with(-1, join(folder, "none.yaml")));
  expect(missing).toMatchObject({ exitCode: 1, err: expect.stringContaining("file-unusable") });
  const notFolder = await fleetfit("controller", "backup", "--data-dir", dataDir, "--to", broken);
  expect(notFolder).toMatchObject({ exitCode: 1, err: expect.stringContaining("file-unusable") });
});

it("explains settings", async () => {
  expect((await fleetfit("recipe", "show", "int8-static")).out).toMatch(/quantize-static/);
  expect((await fleetfit("recipe", "show", "nothing")).err).toMatch(/recipe-unknown/);
  expect((await fleetfit("class", "list")).out).toMatch(/x86-vnni/);
  const edited = join(folder, "classes.yaml");
  writeFileSync(edited, "classes:\n  - name: UPPER\n");
  const checked = await fleetfit("class", "check", "--file", edited);
  expect(checked).toMatchObject({ exitCode: 1, err: expect.stringMatching(/config-invalid.*/) });
});

it.each([
  ["device", "list"],
  ["model", "list"],
  ["recipe", "list"],
  ["class", "list"],
  ["rollout", "list"],
  ["job", "list"],
])("%s list prints JSON when asked", async (noun, verb) => {
  const { exitCode, out } = await fleetfit(noun, verb, "--json");
  expect(exitCode).toBe(0);
  const [rows] = Object.values(JSON.parse(out));
  expect(Array.isArray(rows)).toBe(true);
});

it("refuses a rollout that nothing was chosen for", async () => {
  const { exitCode, err } = await fleetfit("rollout", "start", "tiny", "1");
  expect(exitCode).toBe(1);
  expect(err).toMatch(/^fleetfit: (conflict|not-found): /);
});
