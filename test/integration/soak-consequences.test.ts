/** What reports from soaks do to a rollout: one that took its model back harms, too many alarms pause. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { startRollout, steerRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import { onSoakReport } from "../../controller/soak/reports.ts";
import type { SoakVerdict } from "../../shared/protocol/messages/soak-report.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  senderOf,
  storeOutcome,
} from "../helpers/rollout-world.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";

let world: RolloutWorld;
let rollout: string;
const cameras = Array.from({ length: 6 }, (_, at) => `cam-${at + 1}`);

beforeEach(async () => {
  world = await rolloutWorld();
  await world.addVersion("1");
  for (const id of cameras) await world.addDevice(id, "camera");
  const stages = [{ name: "fleet", select: { by: "all" }, soakMs: 3_600_000 } as const];
  rollout = (await startRollout(world.ctx, { model, version: "1", stages })).id;
  for (const { device, ...attempt } of (await showRollout(world.ctx, rollout)).attempts)
    await storeOutcome(world, device, outcomePayload(attempt));
});
afterEach(() => world.db.destroy());

const show = () => showRollout(world.ctx, rollout);

async function report(device: string, verdict: SoakVerdict, why = "they differ"): Promise<void> {
  const attempt = (await show()).attempts.find((each) => each.device === device)!;
  const payload = {
    ...samplePayloads["soak-report"],
    attempt: attempt.id,
    model,
    version: "1",
    bundleSha256: attempt.bundleSha256,
    verdict,
    why,
  };
  const afterwards = await world.db
    .transaction()
    .execute((trx) => onSoakReport(world.ctx, trx, senderOf(device), payload));
  await afterwards?.();
}

it("one alarm of six devices may be chance; a second is not, and pauses with its reason", async () => {
  await report("cam-1", "paused");
  expect((await show()).status).toBe("running");
  // The same alarm again is none.
  await report("cam-1", "paused");
  expect((await show()).status).toBe("running");
  await report("cam-2", "paused", "9 of 10 inputs differ");
  expect(await show()).toMatchObject({
    status: "paused",
    reason: expect.stringContaining("cam-2: 9 of 10 inputs differ"),
  });
});

it("alarms of a rollout that somebody paused change nothing", async () => {
  await steerRollout(world.ctx, rollout, "pause", "lunch");
  for (const device of cameras.slice(0, 3)) await report(device, "paused");
  expect(await show()).toMatchObject({ status: "paused", reason: expect.stringMatching(/lunch/) });
});

it("certificates are no alarms, and one that comes when alarms are many pauses nothing again", async () => {
  for (const device of cameras.slice(2)) await report(device, "certified");
  await report("cam-1", "paused");
  expect((await show()).status).toBe("running");
  await report("cam-2", "paused");
  expect((await show()).status).toBe("paused");
  await steerRollout(world.ctx, rollout, "resume", "looked at");
  await report("cam-2", "certified");
  expect((await show()).status).toBe("running");
});

it("only devices that committed say how many alarms are many", async () => {
  const {
    id: _id,
    device: _device,
    ...attempt
  } = await world.db
    .selectFrom("attempts")
    .selectAll()
    .where("device", "=", "cam-1")
    .executeTakeFirstOrThrow();
  const open = Array.from({ length: 500 }, (_, at) => ({
    ...attempt,
    id: `open-${at}`,
    device: `open-${at}`,
    outcome: null,
  }));
  for (let at = 0; at < open.length; at += 100)
    await world.db
      .insertInto("attempts")
      .values(open.slice(at, at + 100))
      .execute();
  for (const device of ["cam-1", "cam-2"]) await report(device, "paused");
  expect((await show()).status).toBe("paused");
});

it("what is certified or over pauses nothing", async () => {
  for (const device of cameras) await report(device, "certified");
  for (const device of cameras.slice(0, 3)) await report(device, "ended");
  expect((await show()).status).toBe("running");
});

it("devices that took their model back are harmed, and stop it", async () => {
  const harmed = async () =>
    (await world.db.selectFrom("rolloutMembers").select(["device", "soak"]).execute())
      .filter(({ soak }) => soak === "harmed")
      .map(({ device }) => device);
  await report("cam-1", "rolled-back");
  expect(await harmed()).toEqual(["cam-1"]);
  for (const device of cameras.slice(1)) await report(device, "rolled-back");
  expect(await harmed()).toHaveLength(6);
  expect((await show()).status).toBe("stopped");
});
