/**
 * Rollouts as people steer them, over command line and HTTP API, with a real device: a second person
 * approves, a stage waits for its promotion, an A/A rollout is counted, and a rollback ends with the
 * device's own report that it serves the old hash again.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import type { RunningController } from "../../controller/controller.ts";
import { getDevice } from "../../controller/fleet/devices.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { claimFor, prepareTinyModel } from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const model = "digits";
const { folder, remove } = temporaryFolder();
const dataDir = join(folder, "data");
const bob = join(folder, "bob.token");
let controller: RunningController;
let agent: RunningAgent;

beforeAll(async () => {
  const configDir = join(folder, "config");
  mkdirSync(configDir);
  const classes =
    "classes: [{ name: any, summary: all, match: {}, budget: {}, recipes: [fp32-clean], objective: size }]\n";
  writeFileSync(join(configDir, "classes.yaml"), classes);
  controller = await startTestController(dataDir, { config: { configDir, rolloutApprovals: 1 } });
  for (const version of ["1", "2"]) await prepareChoice(version);
  const claimToken = await claimFor(controller.ctx, device);
  agent = await startTestAgent({ dataDir: join(folder, device), claimToken });
  await until("the device to be online", async () => {
    const found = await getDevice(controller.ctx, device).catch(() => undefined);
    return found?.online === true && found.deviceClass !== null ? found : undefined;
  });
}, 120_000);
afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

async function prepareChoice(version: string): Promise<void> {
  const bundleSha256 = await prepareTinyModel(controller.ctx, model, version);
  await controller.ctx.db
    .insertInto("choices")
    .values({
      model,
      version,
      deviceClass: "any",
      recipe: "fp32-clean",
      bundleSha256,
      emulated: 0,
      reasonsJson: "[]",
      createdAtMs: 0,
    })
    .execute();
}

const fleetfit = (...args: string[]) => fleetfitCommand(args, dataDir);

const json = async (...args: string[]) => JSON.parse((await fleetfit(...args, "--json")).out);
const asBob = ["--token-file", bob];

async function startApproved(...args: string[]): Promise<string> {
  const { id, status } = await json("rollout", "start", model, ...args);
  expect(status).toBe("awaiting-approval");
  expect((await fleetfit("rollout", "approve", id, ...asBob)).exitCode).toBe(0);
  return id;
}

const statusIs = (id: string, wanted: string) =>
  until(`${id} to be ${wanted}`, async () => {
    const rollout = await json("rollout", "show", id);
    return rollout.status === wanted ? rollout : undefined;
  });

it("makes a second token that may approve and nothing beyond it", async () => {
  expect((await fleetfit("token", "create", "bob", "--out", bob)).exitCode).toBe(0);
  const again = await fleetfit("token", "create", "bob", "--out", join(folder, "again"));
  expect(again).toMatchObject({ exitCode: 1, err: expect.stringContaining("conflict") });
  const eve = await fleetfit("token", "create", "eve", "--out", join(folder, "eve"), ...asBob);
  expect(eve).toMatchObject({ exitCode: 1, err: expect.stringContaining("unauthorized") });
  expect((await fleetfit("token", "list")).out).toMatch(/bob/);
  const { tokens } = await json("token", "list");
  expect(JSON.stringify(tokens)).not.toContain(readFileSync(bob, "utf8").trim());
});

it("begins with a second person, waits for its promotion, tells its stages", async () => {
  const { id } = await json("rollout", "start", model, "1", "--stage", "fleet=all;manual");
  const own = await fleetfit("rollout", "approve", id);
  expect(own).toMatchObject({ exitCode: 1, err: expect.stringContaining("somebody else") });
  const approved = await fleetfit("rollout", "approve", id, ...asBob);
  expect(approved.out).toMatch(/approved by 1 of 1/);
  await statusIs(id, "awaiting-promotion");
  const promoted = await fleetfit("rollout", "promote", id, "--reason", "seen", ...asBob);
  expect(promoted.out).toMatch(/is completed/);
  const shown = await fleetfit("rollout", "show", id);
  expect(shown.out).toMatch(/last-stage-promoted.*seen \(by bob\)/);
  expect(shown.out).toMatch(/1 committed/);
  const late = await fleetfit("rollout", "promote", id);
  expect(late).toMatchObject({ exitCode: 1, err: expect.stringContaining("conflict") });
}, 60_000);

it("counts an A/A rollout of what the device runs beside the promise", async () => {
  const refused = await fleetfit("rollout", "start", model, "2", "--aa");
  expect(refused).toMatchObject({ exitCode: 1, err: expect.stringContaining("conflict") });
  const id = await startApproved("1", "--aa");
  const { kind, attempts } = await statusIs(id, "completed");
  expect(kind).toBe("aa");
  expect(attempts).toMatchObject([{ outcome: "committed" }]);
  const { devices, rollouts } = await json("rollout", "calibration");
  expect(devices).toMatchObject({ observed: 0, n: 1, promised: 0.001 });
  expect(rollouts).toMatchObject({ observed: 0, n: 1, promised: 0.01 });
  expect((await fleetfit("rollout", "calibration")).out).toMatch(/0 of 1 \(promised at most 0.1 %/);
}, 60_000);

it("rolls back as a campaign that ends with the device's own report", async () => {
  const before = (await getDevice(controller.ctx, device)).models[model]?.servingSha256;
  const id = await startApproved("2", "--gate", "automatic");
  await statusIs(id, "completed");
  await until("version 2 to be served", async () => {
    const { servingSha256 } = (await getDevice(controller.ctx, device)).models[model] ?? {};
    return servingSha256 !== before || undefined;
  });
  const done = await fleetfit("rollout", "rollback", id, "--reason", "complaints", "--watch");
  expect(done.exitCode).toBe(0);
  expect(done.out).toMatch(/1 of 1 proven/);
  const now = (await getDevice(controller.ctx, device)).models[model];
  expect(now?.servingSha256).toBe(before);
  expect(now?.committed?.version).toBe("1");
  expect(await json("rollout", "show", id)).toMatchObject({
    status: "rolled-back",
    reason: "complaints (by admin)",
  });
}, 60_000);

it("refuses a stage file that says nothing it knows", async () => {
  const file = join(folder, "stages.json");
  writeFileSync(file, JSON.stringify([{ name: "x", select: { by: "moon" } }]));
  const wrong = await fleetfit("rollout", "start", model, "1", "--stages-file", file);
  expect(wrong).toMatchObject({ exitCode: 1, err: expect.stringContaining("input-invalid") });
  const none = await fleetfit("rollout", "start", model, "1", "--stages-file", `${file}.not`);
  expect(none).toMatchObject({ exitCode: 1, err: expect.stringContaining("file-unusable") });
});

it("revokes a token for good", async () => {
  const { tokens } = await json("token", "list");
  const idOf = (name: string) => tokens.find((each: { name: string }) => each.name === name).id;
  expect((await fleetfit("token", "revoke", idOf("bob"))).exitCode).toBe(0);
  expect((await fleetfit("rollout", "list", ...asBob)).err).toMatch(/unauthorized/);
  expect((await fleetfit("token", "revoke", idOf("admin"))).err).toMatch(/conflict/);
});
