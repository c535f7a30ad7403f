/**
 * Control of rollouts in a real database: limits and gates of stages, devices that are away or come late,
 * tries again, rollouts that overlap, rollbacks that are proven, approvals, and A/A.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { desiredOf } from "../../controller/fleet/desired.ts";
import { advanceAllRollouts, deviceAppeared } from "../../controller/rollout/advance.ts";
import { calibrationOf } from "../../controller/rollout/calibration.ts";
import {
  approveRollout,
  rollBackRollout,
  startRollout,
  steerRollout,
} from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import type { StageOrder } from "../../shared/api/stages.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
let bundles: Awaited<ReturnType<RolloutWorld["addVersion"]>>;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const cameras = ["cam-1", "cam-2", "cam-3", "cam-4"];
const all = { by: "all" } as const;
const only = (...devices: string[]) => ({ by: "devices", devices }) as const;
const oneStage = (change: Partial<StageOrder> = {}): StageOrder[] => [
  { name: "fleet", select: all, ...change },
];

beforeEach(async () => {
  world = await rolloutWorld();
  bundles = await world.addVersion("1");
  for (const id of cameras) await world.addDevice(id, "camera");
});
afterEach(() => world.db.destroy());

const start = (stages: StageOrder[], change: object = {}, by?: string) =>
  startRollout(world.ctx, { model, version: "1", stages, ...change }, by);
const show = (id: string) => showRollout(world.ctx, id);
const offered = async (id: string) => (await show(id)).attempts.map(({ device }) => device);
const tick = () => advanceAllRollouts(world.ctx);

async function answer(
  rollout: string,
  device: string,
  change: Parameters<typeof outcomePayload>[1] = {},
): Promise<void> {
  const { attempts } = await show(rollout);
  const attempt = attempts.findLast((each) => each.device === device)!;
  await storeOutcome(world, device, outcomePayload(attempt, change));
}
const rolledBack = { outcome: "rolled-back", code: "paired-metric", servingSha256: null } as const;
const diskFull = { outcome: "failed", code: "disk-full", servingSha256: null } as const;

/** Brings a version to every device and has them report it. */
async function bring(version: string, hash: string, devices = cameras): Promise<string> {
  const { id } = await start(oneStage(), { version });
  for (const device of devices) {
    await answer(id, device);
    await world.reports(device, hash);
  }
  expect((await show(id)).status).toBe("completed");
  return id;
}

async function eventsOf(subject: string): Promise<{ kind: string; message: string }[]> {
  return world.db
    .selectFrom("events")
    .select(["kind", "message"])
    .where("subject", "=", subject)
    .orderBy("id")
    .execute();
}

describe("limits of a stage", () => {
  it("keep so many undecided offers per region, and go on as outcomes come", async () => {
    for (const id of ["us-1", "us-2"]) await world.addDevice(id, "camera");
    await world.db
      .updateTable("devices")
      .set({ region: "us" })
      .where("id", "like", "us-%")
      .execute();
    const { id } = await start(oneStage({ concurrentMax: 1 }));
    const first = await offered(id);
    expect(first.filter((device) => device.startsWith("us"))).toHaveLength(1);
    expect(first).toHaveLength(2);
    await answer(id, first.find((device) => device.startsWith("cam"))!);
    const second = await offered(id);
    expect(second.filter((device) => device.startsWith("cam"))).toHaveLength(2);
    for (let at = 0; at < 6; at++) {
      const open = (await show(id)).attempts.find(({ status }) => status === "offered");
      if (open !== undefined) await answer(id, open.device);
    }
    expect(await show(id)).toMatchObject({ status: "completed" });
    expect(await offered(id)).toHaveLength(6);
  });

  it("keep so many offers per minute", async () => {
    const { id } = await start(oneStage({ offersPerMinuteMax: 3 }));
    const first = await offered(id);
    expect(first).toHaveLength(3);
    await answer(id, first[0]!);
    expect(await offered(id)).toHaveLength(3);
    world.passTime(minuteMs);
    await tick();
    expect(await offered(id)).toHaveLength(4);
  });

  it("free the place of who fell silent", async () => {
    const { id } = await start(oneStage({ concurrentMax: 1, deadlineMs: minuteMs }));
    world.restart();
    world.passTime(700_000);
    await tick();
    expect((await show(id)).attempts).toHaveLength(2);
  });

  it("let a stage soak after its last commit", async () => {
    const stages: StageOrder[] = [
      { name: "canary", select: only("cam-1"), soakMs: 10 * minuteMs },
      { name: "fleet", select: all },
    ];
    const { id } = await start(stages);
    await answer(id, "cam-1");
    world.passTime(9 * minuteMs);
    await tick();
    expect(await offered(id)).toHaveLength(1);
    world.passTime(minuteMs);
    await tick();
    expect(await offered(id)).toHaveLength(4);
  });

  it("let a stage wait for a person where its gate is manual", async () => {
    const stages: StageOrder[] = [
      { name: "canary", select: only("cam-1"), gate: "manual" },
      { name: "fleet", select: all, gate: "manual" },
    ];
    const { id } = await start(stages);
    await expect(steerRollout(world.ctx, id, "promote", "too soon")).rejects.toMatchObject({
      code: "conflict",
    });
    await answer(id, "cam-1");
    expect(await show(id)).toMatchObject({ status: "awaiting-promotion", stage: 0 });
    await tick();
    expect(await offered(id)).toHaveLength(1);
    await steerRollout(world.ctx, id, "promote", "looks good");
    for (const device of cameras.slice(1)) await answer(id, device);
    expect(await show(id)).toMatchObject({ status: "awaiting-promotion", stage: 1 });
    const done = await steerRollout(world.ctx, id, "promote", "all of it");
    expect(done).toMatchObject({
      status: "completed",
      timeline: [
        { verdict: "promoted", why: "looks good", counts: { committed: 1 } },
        { verdict: "last-stage-promoted", why: "all of it", counts: { committed: 3 } },
      ],
    });
  });
});

describe("a device that is away", () => {
  it("is not offered anything, holds the stage to its deadline and gets it when it appears", async () => {
    await world.setOnline("cam-4", false);
    const { id } = await start(oneStage());
    expect(await offered(id)).toEqual(["cam-1", "cam-2", "cam-3"]);
    for (const device of ["cam-1", "cam-2", "cam-3"]) await answer(id, device);
    expect(await show(id)).toMatchObject({
      status: "running",
      timeline: [{ counts: { away: 1 } }],
    });
    world.restart();
    world.passTime(hourMs);
    await tick();
    expect(await show(id)).toMatchObject({
      status: "completed",
      reason: expect.stringContaining("1 away"),
    });
    await world.setOnline("cam-4", true);
    await deviceAppeared(world.ctx, "cam-4");
    expect(await offered(id)).toContain("cam-4");
    await answer(id, "cam-4");
    expect(await show(id)).toMatchObject({
      status: "completed",
      timeline: [{ counts: { away: 0 } }],
    });
  });

  it("joins when it enrols, and gets the newest completed version", async () => {
    const second = await world.addVersion("2");
    const first = await bring("1", bundles.camera);
    const newest = await bring("2", second.camera);
    await world.addDevice("cam-9", "camera");
    await deviceAppeared(world.ctx, "cam-9");
    expect(await offered(newest)).toContain("cam-9");
    expect(await offered(first)).not.toContain("cam-9");
    // A release that new devices take badly is stopped, and the next one gets nothing of it.
    await answer(newest, "cam-9", rolledBack);
    expect(await show(newest)).toMatchObject({ status: "stopped" });
    await world.addDevice("cam-10", "camera");
    await deviceAppeared(world.ctx, "cam-10");
    expect(await offered(newest)).not.toContain("cam-10");
    expect(await offered(first)).toContain("cam-10");
  });

  it("gets what its new class chose, and the minute finds it too", async () => {
    const { id } = await start(oneStage());
    for (const device of cameras) await answer(id, device);
    await world.db
      .updateTable("devices")
      .set({ deviceClass: "meter" })
      .where("id", "=", "cam-2")
      .execute();
    await tick();
    const again = (await show(id)).attempts.filter(({ device }) => device === "cam-2");
    expect(again.map(({ bundleSha256, retry }) => [bundleSha256, retry])).toEqual([
      [bundles.camera, 0],
      [bundles.meter, 1],
    ]);
    expect(again[1]!.releaseCounter).toBeGreaterThan(again[0]!.releaseCounter);
    await tick();
    expect(await offered(id)).toHaveLength(5);
  });

  it("does not join a stage that takes only some", async () => {
    const { id } = await start([
      { name: "two", select: { by: "count", count: 2 } },
      { name: "rest", select: all },
    ]);
    await world.addDevice("cam-9", "camera");
    await deviceAppeared(world.ctx, "cam-9");
    expect(await offered(id)).toHaveLength(2);
  });
});

describe("silence", () => {
  it("is not held against a device that says that it waits for its window", async () => {
    const { id } = await start(oneStage());
    for (const device of cameras.slice(1)) await answer(id, device);
    const attempt = (await show(id)).attempts.find(({ device }) => device === "cam-1")!.id;
    const waiting = { code: "window", why: "opens at night", untilMs: null };
    const update = { attempt, state: "waiting", progressFraction: 0, waiting };
    await world.reports("cam-1", bundles.camera, update);
    world.restart();
    world.passTime(hourMs);
    await tick();
    expect(await show(id)).toMatchObject({
      status: "completed",
      timeline: [{ counts: { waiting: 1, silent: 0 } }],
    });
  });

  it("counts, and a canary that rolls back after its stage was over stops the rollout", async () => {
    const stages: StageOrder[] = [
      { name: "canary", select: only("cam-1", "cam-2") },
      { name: "fleet", select: all },
    ];
    const { id } = await start(stages);
    await answer(id, "cam-1");
    world.restart();
    world.passTime(hourMs);
    await tick();
    expect((await show(id)).status).toBe("awaiting-promotion");
    await steerRollout(world.ctx, id, "promote", "it is a bad link");
    expect(await offered(id)).toHaveLength(4);
    await answer(id, "cam-2", rolledBack);
    const stopped = await show(id);
    expect(stopped).toMatchObject({ status: "stopped", stage: 1 });
    // What nobody answered yet is withdrawn, and an answer that comes still counts as one.
    expect(stopped.attempts.map(({ status }) => status)).toEqual([
      "decided",
      "decided",
      "withdrawn",
      "withdrawn",
    ]);
    await answer(id, "cam-3", { outcome: "superseded", code: "withdrawn", servingSha256: null });
    expect((await show(id)).attempts[2]).toMatchObject({
      status: "decided",
      outcome: "superseded",
    });
  });
});

describe("a failure of the world", () => {
  it("is tried again within the budget of the stage, later, under a higher counter", async () => {
    const { id, releaseCounter } = await start(oneStage({ retryBudget: 1 }));
    await answer(id, "cam-1", diskFull);
    await answer(id, "cam-2", diskFull);
    await tick();
    expect(await offered(id)).toHaveLength(4);
    world.passTime(minuteMs);
    await tick();
    const { attempts } = await show(id);
    const again = attempts.filter(({ device }) => device === "cam-1");
    expect(again.map(({ retry }) => retry)).toEqual([0, 1]);
    expect(new Set(attempts.map((each) => each.id)).size).toBe(5);
    expect(again[1]!.releaseCounter).toBeGreaterThan(releaseCounter);
    expect((await desiredOf(world.ctx, "cam-1"))?.models[model]?.attempt).toBe(again[1]!.id);
    for (const device of ["cam-1", "cam-3", "cam-4"]) await answer(id, device);
    expect(await show(id)).toMatchObject({
      status: "completed",
      timeline: [{ counts: { committed: 3, other: 1 } }],
    });
  });

  it("is no reason where the model failed", async () => {
    const { id } = await start(oneStage({ retryBudget: 5 }));
    await answer(id, "cam-1", { ...rolledBack, outcome: "failed", code: "manifest-foreign" });
    world.passTime(hourMs / 2);
    await tick();
    expect(await offered(id)).toHaveLength(4);
  });
});

describe("rollouts that overlap", () => {
  it("leave each device to the newer one, and the older goes on with the rest", async () => {
    await world.addVersion("2");
    const older = await start(oneStage({ concurrentMax: 3 }));
    const three = await offered(older.id);
    const [lost, ...kept] = three;
    const newer = await start([{ name: "one", select: only(lost!) }], { version: "2" });
    expect((await show(older.id)).attempts.find(({ device }) => device === lost)).toMatchObject({
      status: "withdrawn",
      outcome: null,
      why: expect.stringContaining(newer.id),
    });
    expect(await eventsOf(older.id)).toContainEqual({
      kind: "rollout-overtaken",
      message: expect.stringContaining(newer.id),
    });
    for (const device of kept) await answer(older.id, device);
    const last = cameras.find((device) => !three.includes(device))!;
    await answer(older.id, last);
    expect(await show(older.id)).toMatchObject({
      status: "completed",
      timeline: [{ counts: { committed: 3, taken: 1 } }],
    });
  });

  it("end the older one when the newer is complete, or has all that it would offer", async () => {
    const second = await world.addVersion("2");
    const older = await start(oneStage({ concurrentMax: 1 }));
    await bring("2", second.camera);
    expect(await show(older.id)).toMatchObject({ status: "superseded" });

    const third = await start([{ name: "one", select: only("cam-1") }]);
    const fourth = await start([{ name: "one", select: only("cam-1") }], { version: "2" });
    await tick();
    expect(await show(third.id)).toMatchObject({
      status: "superseded",
      reason: expect.stringContaining("newer"),
    });
    expect((await show(fourth.id)).status).toBe("running");
  });
});

describe("a rollback", () => {
  it("brings each device its old hash under a new counter and ends with the proof", async () => {
    const second = await world.addVersion("2");
    await bring("1", bundles.camera);
    // This one ran nothing before.
    await world.addDevice("cam-9", "camera");
    const bad = await bring("2", second.camera, [...cameras, "cam-9"]);
    const order = { reason: "complaints", by: "ann" };
    const campaign = await rollBackRollout(world.ctx, bad, order);
    expect(await show(bad)).toMatchObject({ status: "rolled-back", reason: "complaints" });
    expect(campaign).toMatchObject({
      kind: "rollback",
      restores: bad,
      status: "running",
      startedBy: "ann",
      proof: { proven: 0, of: 4 },
    });
    expect(campaign.attempts.map(({ device, version }) => [device, version])).toEqual(
      cameras.map((device) => [device, "1"]),
    );
    const desired = await desiredOf(world.ctx, "cam-1");
    const manifest = verifyManifest(desired!.models[model]!.manifest, [
      world.ctx.signingKey.publicKey,
    ]);
    expect(manifest.bundle.sha256).toBe(bundles.camera);
    expect(manifest.releaseCounter).toBe(campaign.releaseCounter);
    for (const device of cameras) await answer(campaign.id, device);
    // Outcomes are not yet the proof.
    expect(await show(campaign.id)).toMatchObject({ status: "running" });
    for (const device of cameras.slice(1)) await world.reports(device, bundles.camera);
    expect((await show(campaign.id)).proof).toEqual({ proven: 3, of: 4 });
    await world.reports("cam-1", bundles.camera);
    expect(await show(campaign.id)).toMatchObject({
      status: "completed",
      proof: { proven: 4, of: 4 },
      reason: expect.stringContaining("4 of 4"),
    });
    // What was taken back is offered to nobody any more.
    await world.addDevice("cam-10", "camera");
    await deviceAppeared(world.ctx, "cam-10");
    expect(await offered(bad)).not.toContain("cam-10");
  });

  it("reaches a device whose commit arrives after it began", async () => {
    await world.addVersion("2");
    await bring("1", bundles.camera);
    const { id: bad } = await start(oneStage(), { version: "2" });
    await answer(bad, "cam-1");
    const { id } = await rollBackRollout(world.ctx, bad, { reason: "bad", by: "ann" });
    expect(await offered(id)).toEqual(["cam-1"]);
    await answer(bad, "cam-2");
    expect(await offered(id)).toEqual(["cam-1", "cam-2"]);
    // A report from before the bad release names the same hash and proves nothing.
    expect((await show(id)).proof).toEqual({ proven: 0, of: 2 });
    for (const device of ["cam-1", "cam-2"]) {
      await answer(id, device);
      await world.reports(device, bundles.camera);
    }
    expect(await show(id)).toMatchObject({ status: "completed", proof: { proven: 2, of: 2 } });
    await answer(bad, "cam-3");
    expect(await show(id)).toMatchObject({ proof: { proven: 2, of: 3 } });
    expect(await offered(id)).toContain("cam-3");
  });

  it("does not wait for ever: past its deadline it says who is missing, and a proof still ends it", async () => {
    const second = await world.addVersion("2");
    await bring("1", bundles.camera);
    const bad = await bring("2", second.camera);
    const { id } = await rollBackRollout(world.ctx, bad, { reason: "bad", by: "ann" });
    for (const device of cameras.slice(1)) {
      await answer(id, device);
      await world.reports(device, bundles.camera);
    }
    world.restart();
    world.passTime(hourMs);
    await tick();
    expect(await show(id)).toMatchObject({
      status: "awaiting-promotion",
      reason: expect.stringContaining("3 of 4"),
    });
    await answer(id, "cam-1");
    await world.reports("cam-1", bundles.camera);
    expect((await show(id)).status).toBe("completed");
  });

  it("of what nobody committed, or of a rollback, is refused and changes nothing", async () => {
    const { id } = await start(oneStage());
    await expect(rollBackRollout(world.ctx, id, { reason: "?", by: "ann" })).rejects.toMatchObject({
      code: "conflict",
    });
    expect((await show(id)).status).toBe("running");
    await expect(
      rollBackRollout(world.ctx, "r-none", { reason: "?", by: "ann" }),
    ).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("approval", () => {
  it("of others than who started it comes before the first offer", async () => {
    world.ctx.config.rolloutApprovals = 2;
    const { id } = await start(oneStage(), {}, "ann");
    expect(await show(id)).toMatchObject({ status: "awaiting-approval", attempts: [] });
    await tick();
    await deviceAppeared(world.ctx, "cam-1");
    await expect(approveRollout(world.ctx, id, "ann")).rejects.toMatchObject({ code: "conflict" });
    await approveRollout(world.ctx, id, "bob");
    await expect(approveRollout(world.ctx, id, "bob")).rejects.toMatchObject({ code: "conflict" });
    expect(await offered(id)).toEqual([]);
    const begun = await approveRollout(world.ctx, id, "cleo");
    expect(begun).toMatchObject({ status: "running", approvals: ["bob", "cleo"] });
    expect(begun.attempts).toHaveLength(4);
    await expect(approveRollout(world.ctx, id, "dan")).rejects.toMatchObject({ code: "conflict" });
    const kinds = (await eventsOf(id)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "rollout-approved")).toHaveLength(2);
  });
});

describe("A/A", () => {
  it("offers what a device runs already and counts false rollbacks beside the promise", async () => {
    await expect(start(oneStage(), { aa: true })).rejects.toMatchObject({ code: "conflict" });
    await bring("1", bundles.camera);
    await world.addDevice("cam-9", "camera");
    const { id, attempts } = await start(oneStage(), { aa: true });
    expect(attempts.map(({ device, bundleSha256 }) => [device, bundleSha256])).toEqual(
      cameras.map((device) => [device, bundles.camera]),
    );
    for (const device of cameras.slice(1)) await answer(id, device);
    await answer(id, "cam-1", rolledBack);
    expect((await show(id)).status).toBe("stopped");
    const calibration = await calibrationOf(world.ctx);
    expect(calibration).toMatchObject({
      devices: { observed: 1, n: 4, promised: 0.001 },
      rollouts: { observed: 1, n: 1, promised: 0.01 },
      each: [{ rollout: id, status: "stopped", devices: { observed: 1, n: 4 } }],
    });
    expect(calibration.devices.low).toBeGreaterThan(0.001);
  });
});
