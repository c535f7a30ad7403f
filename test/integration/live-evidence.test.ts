/**
 * What canaries and controls observe in service, in a real database: it stops a rollout by itself; and one
 * region and class that alone does harm, which is taken back while the others go on.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  advanceAllRollouts,
  advanceRollout,
  deviceAppeared,
} from "../../controller/rollout/advance.ts";
import { calibrationOf } from "../../controller/rollout/calibration.ts";
import { evidenceOf, strataOf } from "../../controller/rollout/evidence/view.ts";
import { onAttemptOutcome } from "../../controller/rollout/outcome.ts";
import { type RolloutOrder, startRollout, steerRollout } from "../../controller/rollout/service.ts";
import { rolloutRow, showRollout } from "../../controller/rollout/views.ts";
import { onObservation } from "../../controller/soak/reports.ts";
import type { ObservedSignals } from "../../shared/protocol/messages/observation.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  senderOf,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
const hourMs = 3_600_000;

beforeEach(async () => {
  world = await rolloutWorld();
});
afterEach(() => world.db.destroy());

type Attempt = Awaited<ReturnType<typeof openAttempts>>[number];

async function fleet(cameras: number, meters: number): Promise<void> {
  for (let at = 0; at < cameras; at++) await world.addDevice(`cam-${at}`, "camera");
  for (let at = 0; at < meters; at++) await world.addDevice(`met-${at}`, "meter");
}

async function openAttempts(rollout: string) {
  const { attempts } = await showRollout(world.ctx, rollout);
  return attempts.filter(({ outcome, status }) => outcome === null && status === "offered");
}

/** Stores what each attempt comes to, canaries with that loss of 500 samples; looks at the end. */
async function answer(
  rollout: string,
  attempts: readonly Attempt[],
  lossOf: (device: string, at: number) => number = () => 0,
): Promise<void> {
  for (const [at, attempt] of attempts.entries()) {
    const isControl = attempt.arm === "control";
    const loss = isControl ? 0 : lossOf(attempt.device, at);
    const numbers = { worse: Math.max(0, loss), better: Math.max(0, -loss), n: 500 };
    const gate = { gate: "paired-metric", verdict: "pass", why: "measured", numbers } as const;
    const payload = outcomePayload(attempt, {
      gates: [gate],
      ...(isControl && { outcome: "observed" }),
    });
    await world.db
      .transaction()
      .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(attempt.device), payload));
  }
  await advanceRollout(world.ctx, rollout);
}

async function firstVersion(): Promise<{ camera: string; meter: string }> {
  const bundles = await world.addVersion("1");
  const { id } = await startRollout(world.ctx, { model, version: "1", judge: "device-gates" });
  for (;;) {
    const open = await openAttempts(id);
    if (open.length === 0) break;
    await answer(id, open);
  }
  await world.addVersion("2");
  return bundles;
}

const start = (percent: number, change: Partial<RolloutOrder> = {}) =>
  startRollout(world.ctx, {
    model,
    version: "2",
    judge: "e-process",
    stages: [
      { name: "pairs", select: { by: "percent", percent } },
      { name: "fleet", select: { by: "all" } },
    ],
    ...change,
  });

/** The first stage is watched for half an hour. */
const soaking = (percent: number): RolloutOrder["stages"] => [
  { name: "pairs", select: { by: "percent", percent }, soakMs: hourMs / 2 },
  { name: "fleet", select: { by: "all" } },
];

async function observe(attempt: Attempt, horizonMs: number, signals: ObservedSignals) {
  const arm = attempt.arm === "control" ? "control" : "canary";
  const payload = { attempt: attempt.id, model, arm, horizonMs, signals, emulated: false } as const;
  const afterwards = await world.db
    .transaction()
    .execute((trx) => onObservation(world.ctx, trx, senderOf(attempt.device), payload));
  await afterwards?.();
}

const errors = (before: number, after: number, n = 400): ObservedSignals => {
  return { errors: { before: { mean: before, n }, after: { mean: after, n } } };
};

describe("what devices observe in service", () => {
  it("stops a rollout whose trials saw nothing, with the signal and its time", async () => {
    await fleet(60, 0);
    await firstVersion();
    const { id } = await start(80, { stages: soaking(80) });
    const attempts = await openAttempts(id);
    await answer(id, attempts);
    for (const [at, attempt] of attempts.entries()) {
      if ((await rolloutRow(world.db, id)).status !== "running") break;
      const more = attempt.arm === "control" ? 0 : 0.06 + (at % 4) / 100;
      await observe(attempt, hourMs, errors(0.01, 0.01 + more));
      // A second copy says nothing new, and another story neither.
      await observe(attempt, hourMs, errors(0, 0));
    }
    const stopped = await showRollout(world.ctx, id);
    expect(stopped.status).toBe("stopped");
    expect(stopped.reason).toContain("pairs errors after 1 h");
    expect(stopped.reason).toMatch(/share of calls without an answer rose by \d\.\d\d points more/);
    const evidence = await evidenceOf(world.db, id);
    const seen = evidence.signals.find(
      ({ signal, horizonMs }) => signal === "errors" && horizonMs === hourMs,
    );
    expect(seen).toMatchObject({ promotes: false });
    expect(seen?.pairs).toBeGreaterThan(10);
    expect(seen?.meanDrop).toBeGreaterThan(0.05);
    expect(seen?.logE).toBeGreaterThanOrEqual(seen?.logThreshold ?? Number.POSITIVE_INFINITY);
    expect(evidence.signals.find(({ signal }) => signal === "over-slo")?.pairs).toBe(0);
    expect(evidence.decisions.every(({ replays }) => replays)).toBe(true);
    const [campaign] = await world.db
      .selectFrom("rollouts")
      .select("id")
      .where("restores", "=", id)
      .execute();
    expect((await openAttempts(campaign!.id)).length).toBeGreaterThan(10);
  });
  it("makes no entry without traffic, nor at a time that nobody asked for", async () => {
    await fleet(40, 0);
    await firstVersion();
    const { id } = await start(80, { stages: soaking(80) });
    const attempts = await openAttempts(id);
    await answer(id, attempts);
    for (const attempt of attempts) {
      await observe(attempt, hourMs, errors(0, attempt.arm === "control" ? 0 : 1, 19));
      await observe(attempt, 2 * hourMs, errors(0, attempt.arm === "control" ? 0 : 1));
    }
    expect((await showRollout(world.ctx, id)).status).toBe("running");
    const { signals } = await evidenceOf(world.db, id);
    expect(signals.filter(({ promotes, pairs }) => !promotes && pairs > 0)).toEqual([]);
    // Nothing waits for what did not come.
    world.passTime(2 * hourMs);
    await advanceAllRollouts(world.ctx);
    expect((await showRollout(world.ctx, id)).status).toBe("awaiting-promotion");
  });
  it("is ordered at the times that the rules judge, the first before the stage goes on", async () => {
    await fleet(20, 0);
    await firstVersion();
    const { id } = await start(40, { stages: soaking(40) });
    const rows = await world.db
      .selectFrom("attempts")
      .select("manifestJson")
      .where("rollout", "=", id)
      .execute();
    const { rules } = await evidenceOf(world.db, id);
    const judged = (rules["signals"] as { name: string; horizonsMs: number[] }[])
      .filter(({ name }) => name !== "golden-metric")
      .map(({ horizonsMs }) => horizonsMs);
    for (const { manifestJson } of rows) {
      const ordered = JSON.parse(manifestJson).signed.soak.horizonsMs;
      expect(ordered).toEqual([hourMs / 4, hourMs]);
      expect(judged).toEqual(judged.map(() => ordered));
    }
    expect(rows).toHaveLength(8);
    expect(judged).toHaveLength(3);
  });
});

/** Cameras lose eight points and more, meters nothing but noise. */
const badOnCameras = (device: string, at: number) =>
  device.startsWith("cam") ? 40 + (at % 5) : ((at * 7) % 5) - 2;

describe("one region and class that alone does harm", () => {
  it("goes back alone, and the others get the release", async () => {
    await fleet(80, 80);
    const before = await firstVersion();
    const { id } = await start(90);
    await answer(id, await openAttempts(id), badOnCameras);
    const rollout = await showRollout(world.ctx, id);
    // The claim is about the fleet, cameras too: a person decides for the meters.
    expect(rollout.status).toBe("awaiting-promotion");
    expect(rollout.excluded).toMatchObject([{ stratum: "eu/camera" }]);
    expect(rollout.excluded[0]?.why).toMatch(
      /fell by \d+\.\d\d points more on canaries .* in eu\/camera/,
    );
    const campaign = rollout.excluded[0]!.campaign!;
    const back = await openAttempts(campaign);
    const canaries = rollout.attempts.filter(
      ({ device, arm }) => arm === "canary" && device.startsWith("cam"),
    );
    expect(back.map(({ device }) => device).sort()).toEqual(
      canaries.map(({ device }) => device).sort(),
    );
    for (const attempt of back) await storeOutcome(world, attempt.device, outcomePayload(attempt));
    for (const { device } of back) await world.reports(device, before.camera);
    expect((await showRollout(world.ctx, campaign)).proof).toEqual({ proven: 36, of: 36 });
    const { strata } = await strataOf(world.db, id);
    expect(strata.find(({ stratum }) => stratum === "eu/camera")?.excluded).toContain("eu/camera");
    expect(strata.find(({ stratum }) => stratum === "eu/meter")?.excluded).toBeNull();
    const evidence = await evidenceOf(world.db, id);
    expect(evidence.decisions.filter(({ stratum }) => stratum === "eu/camera")).toHaveLength(1);
    expect(evidence.decisions.every(({ replays }) => replays)).toBe(true);
    const events = await world.db.selectFrom("events").select(["kind", "subject"]).execute();
    expect(events).toContainEqual({ kind: "rollout-stratum-excluded", subject: id });
    await steerRollout(world.ctx, id, "promote", "meters are fine");
    const rest = await openAttempts(id);
    // All meters that have it not yet, and no camera, not even the controls.
    expect(rest.map(({ device }) => device.slice(0, 3))).toEqual(rest.map(() => "met"));
    expect(rest).toHaveLength(80 - 36);
    await answer(id, rest);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
    // Who comes late gets what its region and class are left with.
    await world.addDevice("cam-late", "camera");
    await world.addDevice("met-late", "meter");
    for (const device of ["cam-late", "met-late"]) await deviceAppeared(world.ctx, device);
    const late = await world.db
      .selectFrom("attempts")
      .select(["device", "version"])
      .where("device", "in", ["cam-late", "met-late"])
      .orderBy("device")
      .execute();
    expect(late).toEqual([
      { device: "cam-late", version: "1" },
      { device: "met-late", version: "2" },
    ]);
  }, 60_000);
  it("is brought nothing back, but offered no more, where devices keep what does harm", async () => {
    await fleet(80, 80);
    await firstVersion();
    const { id } = await start(90, { onHarm: "stop" });
    await answer(id, await openAttempts(id), badOnCameras);
    const rollout = await showRollout(world.ctx, id);
    expect(rollout).toMatchObject({ status: "awaiting-promotion" });
    expect(rollout.excluded).toMatchObject([{ stratum: "eu/camera", campaign: null }]);
  }, 60_000);
  it("stops the rollout when the operator wants that, and when nothing else is left", async () => {
    await fleet(80, 80);
    await firstVersion();
    const { id } = await start(90, { onStratumHarm: "stop" });
    await answer(id, await openAttempts(id), badOnCameras);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "stopped", excluded: [] });
    await world.addVersion("3");
    const again = await start(90, { version: "3" });
    await answer(again.id, await openAttempts(again.id), (_device, at) => 40 + (at % 5));
    expect((await showRollout(world.ctx, again.id)).status).toBe("stopped");
  }, 60_000);
  it("of an A/A rollout is a false alarm as any other", async () => {
    await fleet(80, 80);
    await firstVersion();
    const { id } = await start(90, { version: "1", aa: true });
    await answer(id, await openAttempts(id), badOnCameras);
    await steerRollout(world.ctx, id, "promote", "enough was seen");
    await answer(id, await openAttempts(id));
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
    expect((await calibrationOf(world.ctx)).rollouts).toMatchObject({ observed: 1, n: 1 });
  }, 60_000);
});
