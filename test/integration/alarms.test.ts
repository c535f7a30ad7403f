/** After a rollout: windows of serving in a real database, and the alarm that they raise. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { onTelemetryWindow } from "../../controller/mqtt/handlers/telemetry-window.ts";
import { onAttemptOutcome } from "../../controller/rollout/outcome.ts";
import { startRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import { alarmsOf } from "../../controller/telemetry/watch.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  senderOf,
} from "../helpers/rollout-world.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";

let world: RolloutWorld;
const devices = ["cam-1", "cam-2"] as const;
const windowMs = 60_000;

beforeEach(async () => {
  world = await rolloutWorld();
  for (const device of devices) await world.addDevice(device, "camera");
});
afterEach(() => world.db.destroy());

/** Brings a version to everybody; answers its rollout, and its bundle. */
async function release(version: string) {
  const bundle = (await world.addVersion(version)).camera;
  const { id } = await startRollout(world.ctx, { model, version, gate: "automatic" });
  for (;;) {
    const { attempts, status } = await showRollout(world.ctx, id);
    const open = attempts.filter((each) => each.status === "offered");
    if (open.length === 0) {
      expect(status).toBe("completed");
      return { id, bundle };
    }
    for (const attempt of open) {
      const payload = outcomePayload(attempt);
      await world.db
        .transaction()
        .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(attempt.device), payload))
        .then((afterwards) => afterwards?.());
    }
  }
}

/** Windows of 100 calls, of which `errors` failed. */
async function windows(
  count: number,
  bundleSha256: string,
  errors: number,
  device: string = devices[0],
) {
  world.passTime(1_000);
  const window = { ...samplePayloads["telemetry-window"], model, bundleSha256, timeouts: 0 };
  for (let at = 0; at < count; at++) {
    // A device speaks once in the length of a window.
    world.passTime(windowMs);
    await world.db.transaction().execute((trx) =>
      onTelemetryWindow(world.ctx, trx, senderOf(device), {
        ...window,
        errors,
        ok: 100 - errors,
      }),
    );
  }
}

const suspected = () =>
  world.db.selectFrom("events").selectAll().where("kind", "=", "regression-suspected").execute();

it("is told once that a bundle errs more often than what ran before, with the numbers", async () => {
  const first = await release("1");
  await windows(50, first.bundle, 2);
  world.passTime(1_000);
  const { id, bundle } = await release("2");
  await windows(30, bundle, 2, devices[1]);
  // Twice the share and one point more is borne.
  await windows(200, bundle, 5);
  expect(await alarmsOf(world.db)).toEqual([]);
  // One device that is broken is no regression: nobody else says so.
  await windows(60, bundle, 100);
  expect(await alarmsOf(world.db)).toEqual([]);
  await windows(30, bundle, 20, devices[1]);
  const [alarm, ...more] = await alarmsOf(world.db);
  expect(more).toEqual([]);
  expect(alarm).toMatchObject({ rollout: id, model, version: "2", bundleSha256: bundle });
  expect(alarm?.shareBefore).toBeCloseTo(0.02, 9);
  expect(alarm?.shareMax).toBeCloseTo(0.05, 9);
  expect(alarm?.windows).toBeLessThan(320);
  expect(alarm?.message).toContain("2.0 % before it, up to 5.0 % is borne");
  expect(alarm?.message).toContain("2 of 2 devices had errors");
  expect(alarm?.message).toContain(`fleetfit rollout rollback ${id}`);
  const events = await suspected();
  expect(events.map(({ subject, message }) => [subject, message])).toEqual([[id, alarm?.message]]);
  expect((await showRollout(world.ctx, id)).status).toBe("completed");
});

it("watches nothing that no completed rollout brought, and no first version", async () => {
  const first = await release("1");
  // Nothing ran before it that it could be worse than.
  await windows(30, first.bundle, 100);
  world.passTime(8 * 86_400_000);
  await windows(30, first.bundle, 1);
  world.passTime(1_000);
  const { bundle, id } = await release("2");
  await windows(30, "e".repeat(64), 100);
  await world.db.updateTable("rollouts").set({ status: "stopped" }).where("id", "=", id).execute();
  await windows(30, bundle, 100);
  expect(await alarmsOf(world.db)).toEqual([]);
  await world.db.updateTable("rollouts").set({ status: "completed" }).execute();
  await windows(10, bundle, 100);
  expect(await alarmsOf(world.db)).toMatchObject([{ rollout: id, shareBefore: 0.01 }]);
});

it("hears a device once in the length of a window, however many it sends", async () => {
  const first = await release("1");
  await windows(20, first.bundle, 2);
  world.passTime(1_000);
  const { bundle } = await release("2");
  const window = {
    ...samplePayloads["telemetry-window"],
    model,
    bundleSha256: bundle,
    timeouts: 0,
  };
  for (const device of [devices[0], devices[1]]) {
    for (let at = 0; at < 100; at++) {
      await world.db
        .transaction()
        .execute((trx) =>
          onTelemetryWindow(world.ctx, trx, senderOf(device), { ...window, errors: 100, ok: 0 }),
        );
    }
  }
  const [detector] = await world.db.selectFrom("detectors").selectAll().execute();
  expect(detector?.windows).toBeLessThanOrEqual(4);
  expect(await alarmsOf(world.db)).toEqual([]);
});
