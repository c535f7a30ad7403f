/**
 * The rule of backups, with a device that lives through it: when a controller comes back with
 * yesterday's state, nobody is downgraded, nothing is tried again, and what it orders next is heard.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import { databasePath } from "../../agent/paths.ts";
import { makeBackup } from "../../controller/backup/backup.ts";
import { restoreBackup } from "../../controller/backup/restore.ts";
import type { RunningController } from "../../controller/controller.ts";
import { getDevice } from "../../controller/fleet/devices.ts";
import { startRollout, steerRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import { claimFor, prepareChoice } from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const model = "digits";
const { folder, remove } = temporaryFolder();
const at = (name: string) => join(folder, name);
const ports = realPorts();
let controller: RunningController;
let agent: RunningAgent;
let yesterdaysRollout: string;

beforeAll(async () => {
  mkdirSync(at("config"));
  const classes =
    "classes: [{ name: any, summary: all, match: {}, budget: {}, recipes: [fp32-clean], objective: size }]\n";
  writeFileSync(join(at("config"), "classes.yaml"), classes);
  controller = await startTestController(at("today"), { config: { configDir: at("config") } });
  for (const version of ["1", "2", "3"]) {
    await prepareChoice(controller.ctx, { model, version, deviceClass: "any" });
  }
  const claimToken = await claimFor(controller.ctx, device);
  agent = await startTestAgent({ dataDir: at(device), claimToken });
  await online();
  await rollOut("1");

  // Yesterday ends with a rollout that the device does not know of yet.
  await agent.stop();
  await until("the device to be seen away", async () =>
    (await getDevice(controller.ctx, device)).online ? undefined : true,
  );
  yesterdaysRollout = (
    await startRollout(controller.ctx, { model, version: "2", gate: "automatic" })
  ).id;
  await makeBackup(ports, { dataDir: at("today"), to: at("backup") });

  agent = await startTestAgent({ dataDir: at(device) });
  await ended(yesterdaysRollout);
  await rollOut("3");
}, 120_000);

afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

it("downgrades nobody, tries nothing again, and is heard", async () => {
  const before = await running();
  expect(before).toMatchObject({ version: "3", releaseCounter: 3 });
  const attemptsBefore = attemptsOnDevice();
  expect(attemptsBefore).toHaveLength(3);

  const mqttPort = Number(new URL(controller.mqttUrl).port);
  await controller.stop();
  await restoreBackup(ports, { from: at("backup"), dataDir: at("restored") });
  const config = { configDir: at("config"), mqttPort };
  controller = await startTestController(at("restored"), { config });
  await online();

  // The offer of yesterday is made when somebody has looked, and answered from the device's memory.
  const restored = await showRollout(controller.ctx, yesterdaysRollout);
  expect(restored).toMatchObject({ status: "paused", attempts: [] });
  await steerRollout(controller.ctx, yesterdaysRollout, "resume", "looked at");
  expect(await ended(yesterdaysRollout)).toMatchObject({
    status: "completed",
    attempts: [{ device, outcome: "committed" }],
  });
  expect(await running()).toEqual(before);
  expect(attemptsOnDevice()).toEqual(attemptsBefore);

  // An order of today is above all that the device has seen, though the backup knew less.
  const next = await rollOut("1");
  expect(next.releaseCounter).toBeGreaterThan(3);
  expect(next.attempts).toMatchObject([{ device, outcome: "committed" }]);
  expect(await running()).toMatchObject({ version: "1", releaseCounter: next.releaseCounter });
}, 60_000);

const online = () =>
  until("the device to be online", async () => {
    const found = await getDevice(controller.ctx, device).catch(() => undefined);
    return found?.online === true && found.deviceClass !== null ? found : undefined;
  });

async function rollOut(version: string) {
  const { id } = await startRollout(controller.ctx, { model, version, gate: "automatic" });
  const rollout = await ended(id);
  await until(`${device} to report ${version}`, async () => {
    const committed = await running();
    return committed?.version === version ? committed : undefined;
  });
  return rollout;
}

const ended = (id: string) =>
  until(`the end of ${id}`, async () => {
    const rollout = await showRollout(controller.ctx, id);
    return rollout.status === "running" || rollout.status === "paused" ? undefined : rollout;
  });

async function running() {
  return (await getDevice(controller.ctx, device)).models[model]?.committed;
}

function attemptsOnDevice(): unknown[] {
  const sqlite = ports.openSqlite(databasePath(at(device)));
  try {
    return sqlite.prepare("select id, state from attempts order by id").all();
  } finally {
    sqlite.close();
  }
}
