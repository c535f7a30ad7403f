/**
 * Rollouts in a real database: who is offered what, what a stop takes back, and that nothing is believed
 * that a device did not prove.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { desiredOf } from "../../controller/fleet/desired.ts";
import { advanceAllRollouts, advanceRollout } from "../../controller/rollout/advance.ts";
import { drawReleaseCounter, learnReleaseCounter } from "../../controller/rollout/counter.ts";
import { onAttemptOutcome } from "../../controller/rollout/outcome.ts";
import { startRollout, steerRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import type { StageOrder } from "../../shared/api/stages.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import { generateKeyPair, signDocument } from "../../shared/artifact/signature.ts";
import {
  manifestTtlMs,
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  senderOf,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
let bundles: Awaited<ReturnType<RolloutWorld["addVersion"]>>;
/** Canaries by name: which ones a seed draws is another test's question. */
const stages: StageOrder[] = [
  { name: "canary", select: { by: "devices", devices: ["cam-1", "met-1"] } },
  { name: "fleet", select: { by: "all" } },
];
const order = { model, version: "1", stages };
const hourMs = 3_600_000;

beforeEach(async () => {
  world = await rolloutWorld();
  bundles = await world.addVersion("1");
  for (const id of ["cam-1", "cam-2"]) await world.addDevice(id, "camera");
  for (const id of ["met-1", "met-2"]) await world.addDevice(id, "meter");
});
afterEach(() => world.db.destroy());

const offered = async (rollout: string) =>
  (await showRollout(world.ctx, rollout)).attempts.map(({ device }) => device);

async function attemptOf(rollout: string, device: string) {
  const { attempts } = await showRollout(world.ctx, rollout);
  return attempts.find((attempt) => attempt.device === device)!;
}

async function answer(
  rollout: string,
  device: string,
  change: Parameters<typeof outcomePayload>[1] = {},
): Promise<void> {
  await storeOutcome(world, device, outcomePayload(await attemptOf(rollout, device), change));
}

const rolledBack = { outcome: "rolled-back", code: "paired-metric", servingSha256: null } as const;

describe("a rollout", () => {
  it("offers each canary the bundle of its class, then the rest, then it is complete", async () => {
    const { id } = await startRollout(world.ctx, order);
    expect(await offered(id)).toEqual(["cam-1", "met-1"]);
    expect((await attemptOf(id, "met-1")).bundleSha256).toBe(bundles.meter);
    await answer(id, "cam-1");
    expect(await offered(id)).toHaveLength(2);
    await answer(id, "met-1");
    expect(await offered(id)).toEqual(["cam-1", "met-1", "cam-2", "met-2"]);
    await answer(id, "cam-2");
    await answer(id, "met-2");
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
  });

  it("stops at a canary that rolled back, takes open offers back and offers nobody more", async () => {
    const { id } = await startRollout(world.ctx, order);
    const before = await desiredOf(world.ctx, "cam-1");
    await answer(id, "met-1", rolledBack);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "stopped" });
    expect(await offered(id)).toEqual(["cam-1", "met-1"]);
    const after = await desiredOf(world.ctx, "cam-1");
    expect(before?.models[model]).toBeDefined();
    expect(after?.models[model]).toBeUndefined();
    expect(after!.revision).toBeGreaterThan(before!.revision);
    expect(world.sent.at(-1)).toMatchObject({ name: "desired", device: "cam-1", payload: after });
  });

  it("goes on after a crash between an outcome and what follows it", async () => {
    const { id } = await startRollout(world.ctx, order);
    for (const device of ["cam-1", "met-1"]) {
      const payload = outcomePayload(await attemptOf(id, device));
      await world.db
        .transaction()
        .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(device), payload));
    }
    expect(await offered(id)).toHaveLength(2);
    await advanceAllRollouts(world.ctx);
    expect(await offered(id)).toHaveLength(4);
  });

  it("begins no stage while it is paused, and goes on when it is resumed", async () => {
    const { id } = await startRollout(world.ctx, order);
    await steerRollout(world.ctx, id, "pause", "lunch");
    await answer(id, "cam-1");
    await answer(id, "met-1");
    expect(await offered(id)).toHaveLength(2);
    expect((await steerRollout(world.ctx, id, "resume", "back")).attempts).toHaveLength(4);
  });

  it("keeps one outcome per attempt, the first, and only its own device's", async () => {
    const { id } = await startRollout(world.ctx, order);
    const stolen = outcomePayload(await attemptOf(id, "cam-1"));
    await world.db
      .transaction()
      .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf("met-1"), stolen));
    expect((await attemptOf(id, "cam-1")).outcome).toBeNull();
    await answer(id, "cam-1");
    await answer(id, "cam-1", rolledBack);
    expect((await attemptOf(id, "cam-1")).outcome).toBe("committed");
    const events = await world.db
      .selectFrom("events")
      .selectAll()
      .where("subject", "=", "cam-1")
      .execute();
    expect(events.map(({ kind }) => kind)).toEqual(["attempt-committed"]);
  });
});

describe("what is not believed", () => {
  it.each([
    ["serves something else", { servingSha256: "e".repeat(64) }],
    ["serves nothing", { servingSha256: null }],
    ["names another bundle", { bundleSha256: "e".repeat(64), servingSha256: "e".repeat(64) }],
  ])("a commit of a device that %s", async (_what, change) => {
    const { id } = await startRollout(world.ctx, order);
    await answer(id, "cam-1", change);
    expect(await attemptOf(id, "cam-1")).toMatchObject({
      outcome: "failed",
      code: "outcome-unproven",
      why: expect.stringContaining(bundles.camera),
    });
  });
});

describe("devices", () => {
  it("with long names that begin alike have an attempt each", async () => {
    const names = ["a", "b"].map((end) => `${"n".repeat(63)}${end}`);
    for (const name of names) await world.addDevice(name, "camera");
    const stages: StageOrder[] = [{ name: "all", select: { by: "all" } }];
    const { attempts } = await startRollout(world.ctx, { ...order, stages });
    const ids = new Set(attempts.map(({ id }) => id));
    expect(ids.size).toBe(6);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9][a-z0-9._-]{0,63}$/);
  });

  it("of a class whose canary rolled back are held while another class goes on", async () => {
    // Nine commits beside one rollback would be no ground to stop at this limit.
    world.ctx.config.alphaDevice = 0.01;
    for (let n = 3; n < 9; n++) await world.addDevice(`cam-${n}`, "camera");
    const stages: StageOrder[] = [
      { name: "canary", select: { by: "devices", devices: ["met-1", ...cameras(8)] } },
      { name: "fleet", select: { by: "all" } },
    ];
    const { id } = await startRollout(world.ctx, { ...order, stages });
    for (const device of cameras(8)) await answer(id, device);
    await world.addDevice("cam-9", "camera");
    await answer(id, "met-1", rolledBack);
    const shown = await showRollout(world.ctx, id);
    expect(shown.attempts.map(({ device }) => device)).toContain("cam-9");
    expect(shown.attempts.map(({ device }) => device)).not.toContain("met-2");
    const events = await world.db.selectFrom("events").selectAll().execute();
    expect(events.find(({ kind }) => kind === "rollout-held")?.message).toMatch(/meter/);
  });

  it("that retired or were quarantined do not hold a stage", async () => {
    const { id } = await startRollout(world.ctx, order);
    await answer(id, "cam-1");
    await world.setStanding("met-1", "retired");
    await advanceRollout(world.ctx, id);
    expect(await offered(id)).toEqual(["cam-1", "met-1", "cam-2", "met-2"]);
  });

  it("that nobody selects are an error and no counter is spent", async () => {
    const stages: StageOrder[] = [
      { name: "typo", select: { by: "regions", regions: ["eu-wset"] } },
      { name: "fleet", select: { by: "all" } },
    ];
    await expect(startRollout(world.ctx, { ...order, stages })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("typo"),
    });
    expect(await drawReleaseCounter(world.db, model)).toBe(1);
    expect(world.sent).toEqual([]);
  });

  it("that were away longer than a manifest holds get a fresh one, the same in all else", async () => {
    const { id } = await startRollout(world.ctx, order);
    const keys = [world.ctx.signingKey.publicKey];
    const ordered = async () => {
      await advanceAllRollouts(world.ctx);
      const desired = await desiredOf(world.ctx, "cam-1");
      const manifest = verifyManifest(desired!.models[model]!.manifest, keys);
      return { revision: desired!.revision, manifest };
    };
    const first = await ordered();
    expect(await ordered()).toEqual(first);
    world.passTime(manifestTtlMs + 1);
    const later = await ordered();
    expect(later.revision).toBeGreaterThan(first.revision);
    expect(later.manifest.expiresAtMs).toBe(first.manifest.expiresAtMs + manifestTtlMs + 1);
    const { issuedAtMs, expiresAtMs } = first.manifest;
    expect({ ...later.manifest, issuedAtMs, expiresAtMs }).toEqual(first.manifest);
    // What is decided is not ordered again.
    await answer(id, "cam-1");
    const decided = await ordered();
    world.passTime(manifestTtlMs + 1);
    expect(await ordered()).toEqual(decided);
  });
});

it("a rollout that cannot go on does not keep another back, and goes on when it can", async () => {
  const stuck = await startRollout(world.ctx, order);
  const lost = world.blobs.get(bundles.camera)!;
  await world.addVersion("1", "meters-model");
  const other = await startRollout(world.ctx, { ...order, model: "meters-model" });
  world.blobs.delete(bundles.camera);
  for (const [rollout, device] of [stuck.id, other.id].flatMap((id) =>
    ["cam-1", "met-1"].map((device) => [id, device] as const),
  )) {
    const payload = outcomePayload(await attemptOf(rollout, device));
    await world.db
      .transaction()
      .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(device), payload));
  }
  await advanceAllRollouts(world.ctx);
  expect(await offered(stuck.id)).toHaveLength(2);
  expect(await offered(other.id)).toHaveLength(4);
  world.blobs.set(bundles.camera, lost);
  await advanceAllRollouts(world.ctx);
  expect(await offered(stuck.id)).toHaveLength(4);
});

it("a stored manifest that another key signed is not renewed and stops nothing", async () => {
  const { id } = await startRollout(world.ctx, order);
  const forged = JSON.stringify(signDocument({ schema: "other" }, generateKeyPair()));
  const attempt = await attemptOf(id, "met-1");
  await world.db
    .updateTable("attempts")
    .set({ manifestJson: forged })
    .where("id", "=", attempt.id)
    .execute();
  world.passTime(manifestTtlMs + 1);
  await advanceAllRollouts(world.ctx);
  const kept = await world.db
    .selectFrom("attempts")
    .select("manifestJson")
    .where("id", "=", attempt.id)
    .executeTakeFirstOrThrow();
  expect(kept.manifestJson).toBe(forged);
});

function cameras(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `cam-${at + 1}`);
}

describe("release counters", () => {
  it("rise with each rollout and jump past what a device has accepted", async () => {
    const first = await startRollout(world.ctx, order);
    await steerRollout(world.ctx, first.id, "abort", "again");
    const second = await startRollout(world.ctx, order);
    await steerRollout(world.ctx, second.id, "abort", "again");
    await learnReleaseCounter(world.db, model, 70);
    // An older report that comes late takes nothing back.
    await learnReleaseCounter(world.db, model, 3);
    const third = await startRollout(world.ctx, order);
    expect([first, second, third].map(({ releaseCounter }) => releaseCounter)).toEqual([1, 2, 71]);
    expect(third.attempts.every(({ releaseCounter }) => releaseCounter === 71)).toBe(true);
  });

  it("belong to one model", async () => {
    await learnReleaseCounter(world.db, "another", 70);
    expect((await startRollout(world.ctx, order)).releaseCounter).toBe(1);
    expect(await drawReleaseCounter(world.db, model)).toBe(2);
  });
});

describe("a deadline", () => {
  it("holds the stage when too many fell silent; who comes late lets it go on", async () => {
    const { id } = await startRollout(world.ctx, order);
    await answer(id, "cam-1");
    world.passTime(hourMs);
    await advanceAllRollouts(world.ctx);
    expect(await showRollout(world.ctx, id)).toMatchObject({
      status: "awaiting-promotion",
      reason: expect.stringContaining("1 silent"),
      timeline: [{ verdict: "stage-inconclusive", endedAtMs: null }, { startedAtMs: null }],
    });
    expect(await offered(id)).toHaveLength(2);
    expect((await desiredOf(world.ctx, "met-1"))?.models[model]).toBeDefined();
    await answer(id, "met-1");
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "running", stage: 1 });
    expect(await offered(id)).toHaveLength(4);
  });

  it.each(["its last will came", "its last will was lost"])(
    "lets no canary pass that was cut off after its commit, before it is heard of again: %s",
    async (what) => {
      const soak = { soakMs: hourMs };
      const watched: StageOrder[] = [
        { name: "canary", select: { by: "devices", devices: ["cam-1", "met-1"] }, ...soak },
        { name: "fleet", select: { by: "all" } },
      ];
      const { id } = await startRollout(world.ctx, { ...order, stages: watched });
      await answer(id, "cam-1");
      await answer(id, "met-1");
      if (what === "its last will came") await world.setOnline("met-1", false);
      else world.loseTouch("met-1");
      world.passTime(1.5 * hourMs);
      await advanceAllRollouts(world.ctx);
      expect(await showRollout(world.ctx, id)).toMatchObject({ status: "running", stage: 0 });
      world.passTime(hourMs);
      await advanceAllRollouts(world.ctx);
      const waiting = await showRollout(world.ctx, id);
      expect(waiting).toMatchObject({ status: "awaiting-promotion", stage: 0 });
      expect(waiting.reason).toMatch(/1 of these took it back or were not heard of/);
      await world.setOnline("met-1", true);
      await advanceAllRollouts(world.ctx);
      expect(await showRollout(world.ctx, id)).toMatchObject({ status: "running", stage: 1 });
    },
  );

  it("that passed while the controller was down waits for what devices bring", async () => {
    const { id } = await startRollout(world.ctx, order);
    world.passTime(hourMs);
    world.restart();
    await advanceAllRollouts(world.ctx);
    await answer(id, "cam-1");
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "running", stage: 0 });
    await answer(id, "met-1");
    expect(await offered(id)).toHaveLength(4);
    world.passTime(hourMs);
    await advanceAllRollouts(world.ctx);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "stopped" });
  });
});
