/**
 * The evidence of rollouts in a real database: pairs drawn by lot, what devices say in the ledger, and
 * what follows from it.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { desiredOf } from "../../controller/fleet/desired.ts";
import { advanceAllRollouts, advanceRollout } from "../../controller/rollout/advance.ts";
import { ledgerRows } from "../../controller/rollout/evidence/store.ts";
import { evidenceOf, strataOf } from "../../controller/rollout/evidence/view.ts";
import { onAttemptOutcome } from "../../controller/rollout/outcome.ts";
import { type RolloutOrder, startRollout, steerRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  senderOf,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
const hourMs = 3_600_000;

beforeEach(async () => {
  world = await rolloutWorld();
});
afterEach(() => world.db.destroy());

const rolledBack = { outcome: "rolled-back", code: "paired-metric", servingSha256: null } as const;
const names = (count: number, prefix = "cam") =>
  Array.from({ length: count }, (_, at) => `${prefix}-${String(at).padStart(3, "0")}`);

async function fleet(count: number): Promise<void> {
  for (const name of names(count)) await world.addDevice(name, "camera");
}

const pairedGate = (worse: number, better: number) => ({
  gate: "paired-metric" as const,
  verdict: "pass" as const,
  why: "measured",
  numbers: { worse, better, n: 500 },
});

async function openAttempts(rollout: string) {
  const { attempts } = await showRollout(world.ctx, rollout);
  return attempts.filter(({ outcome, status }) => outcome === null && status === "offered");
}

async function answer(
  attempt: Awaited<ReturnType<typeof openAttempts>>[number],
  change: Parameters<typeof outcomePayload>[1] = {},
): Promise<void> {
  const payload = outcomePayload(attempt, change);
  const afterwards = await world.db
    .transaction()
    .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(attempt.device), payload));
  await afterwards?.();
}

/** Stores the outcomes of all but one, and looks at the rollout once. */
async function answerMany(
  rollout: string,
  worse: (at: number) => number,
  silent?: string,
): Promise<void> {
  for (const [at, attempt] of (await openAttempts(rollout)).entries()) {
    if (attempt.id === silent) continue;
    const isControl = attempt.arm === "control";
    const loss = isControl ? 0 : worse(at);
    const gates = [pairedGate(Math.max(0, loss), Math.max(0, -loss))];
    const payload = outcomePayload(attempt, { gates, ...(isControl && { outcome: "observed" }) });
    await world.db
      .transaction()
      .execute((trx) => onAttemptOutcome(world.ctx, trx, senderOf(attempt.device), payload));
  }
  await advanceRollout(world.ctx, rollout);
}

/** Answers all open attempts: canaries lose `worse` of 500 samples, controls compare with themselves. */
async function answerAll(rollout: string, worse: (at: number) => number): Promise<number> {
  const open = await openAttempts(rollout);
  for (const [at, attempt] of open.entries()) {
    if (attempt.arm === "control") {
      await answer(attempt, { outcome: "observed", gates: [pairedGate(0, 0)] });
    } else {
      const loss = worse(at);
      await answer(attempt, { gates: [pairedGate(Math.max(0, loss), Math.max(0, -loss))] });
    }
  }
  return open.length;
}

/** Brings version 1 to everybody, so that there is something to compare with. */
async function firstVersion(): Promise<void> {
  await world.addVersion("1");
  const { id } = await startRollout(world.ctx, { model, version: "1", judge: "device-gates" });
  while ((await openAttempts(id)).length > 0) await answerMany(id, () => 0);
  expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
  await world.addVersion("2");
}

const start = (change: Partial<RolloutOrder> = {}) =>
  startRollout(world.ctx, {
    model,
    version: "2",
    judge: "e-process",
    stages: [
      { name: "pairs", select: { by: "percent", percent: 40 } },
      { name: "fleet", select: { by: "all" } },
    ],
    ...change,
  });

describe("pairs", () => {
  it("are canary and control of one stratum, and the control tries what it runs", async () => {
    await fleet(20);
    await firstVersion();
    const { id } = await start();
    const pairs = await world.db.selectFrom("pairs").selectAll().execute();
    expect(pairs).toHaveLength(4);
    const attempts = await openAttempts(id);
    const arms = Map.groupBy(attempts, ({ arm }) => arm);
    expect(
      arms
        .get("canary")
        ?.map(({ device }) => device)
        .sort(),
    ).toEqual(pairs.map(({ canary }) => canary).sort());
    expect(arms.get("control")?.every(({ version }) => version === "1")).toBe(true);
    const [control] = arms.get("control") ?? [];
    const desired = await desiredOf(world.ctx, control!.device);
    expect(desired?.models[model]).toMatchObject({
      arm: "control",
      manifest: { signed: { purpose: "control", version: "1" } },
    });
  });
  it("are not drawn of devices that have nothing to compare with", async () => {
    await fleet(10);
    await world.addVersion("2");
    await start();
    expect(await world.db.selectFrom("pairs").selectAll().execute()).toEqual([]);
  });
});

describe("a rollout that has to prove itself", () => {
  it("takes a drop back that no single device can see, and the devices that committed it", async () => {
    await fleet(120);
    await firstVersion();
    const { id } = await start({
      stages: [
        { name: "pairs", select: { by: "percent", percent: 80 } },
        { name: "fleet", select: { by: "all" } },
      ],
    });
    // About three points each, with noise: every canary commits.
    for (const [at, attempt] of (await openAttempts(id)).entries()) {
      if ((await showRollout(world.ctx, id)).status !== "running") break;
      const isControl = attempt.arm === "control";
      const gates = [isControl ? pairedGate(0, 0) : pairedGate(15 + (at % 7), 2)];
      await answer(attempt, { gates, ...(isControl && { outcome: "observed" }) });
    }
    const stopped = await showRollout(world.ctx, id);
    expect(stopped).toMatchObject({ status: "stopped" });
    expect(stopped.reason).toContain("pairs golden-metric");
    const { strata } = await strataOf(world.db, id);
    expect(strata).toMatchObject([{ stratum: "eu/camera", suspected: true }]);
    const [{ pairs, meanDrop } = { pairs: 0, meanDrop: 0 }] = strata[0]?.tests ?? [];
    expect(pairs).toBe((await evidenceOf(world.db, id)).pairs);
    expect(meanDrop).toBeGreaterThan(0.02);
    const [campaign] = await world.db
      .selectFrom("rollouts")
      .selectAll()
      .where("restores", "=", id)
      .execute();
    const back = await openAttempts(campaign!.id);
    const committed = stopped.attempts.filter(({ outcome }) => outcome === "committed");
    expect(back.map(({ device }) => device).sort()).toEqual(
      committed.map(({ device }) => device).sort(),
    );
    expect(back.every(({ version }) => version === "1")).toBe(true);
  });
  it("does not reach the fleet without proof, and says how many pairs are missing", async () => {
    await fleet(40);
    await firstVersion();
    const { id } = await start();
    await answerAll(id, () => 0);
    world.passTime(2 * hourMs);
    await advanceAllRollouts(world.ctx);
    const held = await showRollout(world.ctx, id);
    expect(held).toMatchObject({ status: "awaiting-promotion" });
    expect(held.reason).toMatch(/about \d+ more pairs to see 2.00 % of golden-metric/);
    expect(await openAttempts(id)).toEqual([]);
  });
  it("expands over small stages and says that it is no claim", async () => {
    await fleet(100);
    await firstVersion();
    const { id } = await start({
      stages: [
        { name: "few", select: { by: "percent", percent: 8 } },
        { name: "more", select: { by: "percent", percent: 10 } },
        { name: "fleet", select: { by: "all" } },
      ],
    });
    await answerAll(id, () => 0);
    const now = await showRollout(world.ctx, id);
    expect(now).toMatchObject({ status: "running", stage: 1 });
    expect(now.reason).toContain("an expansion, not a claim");
  });
  it("reaches the fleet and its controls once it is proven", async () => {
    await fleet(640);
    await firstVersion();
    const { id } = await start({
      stages: [
        { name: "pairs", select: { by: "percent", percent: 95 } },
        { name: "fleet", select: { by: "all" } },
      ],
    });
    const unheard = (await openAttempts(id)).find(({ arm }) => arm === "control");
    await answerMany(id, (at) => (at % 3) - 1, unheard?.id);
    const now = await showRollout(world.ctx, id);
    expect(now).toMatchObject({ status: "running", stage: 1 });
    // Its device gets the release with the others, and never heard of the trial.
    expect(now.attempts.find((one) => one.id === unheard?.id)).toMatchObject({
      status: "withdrawn",
      outcome: null,
    });
    expect(now.reason).toMatch(/golden-metric fell by less than 2.00 %/);
    const rest = await openAttempts(id);
    expect(rest.every(({ arm, version }) => arm === "fleet" && version === "2")).toBe(true);
    // 304 canaries have it; everybody else is offered it now, the controls among them.
    expect(rest).toHaveLength(640 - 304);
    await answerMany(id, () => 0);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
  }, 60_000);
});

describe("a rollout that cannot prove anything", () => {
  it("says so at its start, and goes on by the gates of its devices", async () => {
    await fleet(6);
    await world.addVersion("1");
    const { id } = await startRollout(world.ctx, { model, version: "1" });
    const [event] = await world.db
      .selectFrom("events")
      .selectAll()
      .where("kind", "=", "rollout-power")
      .execute();
    expect(event?.message).toMatch(/judged by device-gates.*cannot prove/);
    const { power } = await showRollout(world.ctx, id);
    expect(power).toBe(event?.message);
    expect(power).toContain("about 10 in 10,000 healthy devices roll back");
    while ((await answerAll(id, () => 0)) > 0);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
  });
  it("waits for a person before the whole fleet, where something runs already", async () => {
    await fleet(12);
    await firstVersion();
    const { id } = await startRollout(world.ctx, { model, version: "2" });
    while ((await answerAll(id, () => 0)) > 0);
    const waiting = await showRollout(world.ctx, id);
    expect(waiting).toMatchObject({ status: "awaiting-promotion", stage: 1 });
    expect(waiting.attempts.length).toBeLessThan(6);
    await steerRollout(world.ctx, id, "promote", "the shops are content");
    while ((await answerAll(id, () => 0)) > 0);
    expect(await showRollout(world.ctx, id)).toMatchObject({ status: "completed" });
  });
  it("takes no gate beside stages, which say their own", async () => {
    await fleet(2);
    await world.addVersion("1");
    const stages = [{ name: "all", select: { by: "all" as const } }];
    const start = startRollout(world.ctx, { model, version: "1", stages, gate: "manual" });
    await expect(start).rejects.toMatchObject({ code: "input-invalid" });
  });
  it("is stopped by devices that fall silent after their offer", async () => {
    await fleet(40);
    await firstVersion();
    const stages = [
      { name: "half", select: { by: "percent", percent: 50 } },
      { name: "fleet", select: { by: "all" } },
    ] as const;
    const { id } = await start({ judge: "device-gates", stages });
    for (const attempt of (await openAttempts(id)).slice(0, 10)) await answer(attempt);
    world.passTime(2 * hourMs);
    await advanceAllRollouts(world.ctx);
    const stopped = await showRollout(world.ctx, id);
    expect(stopped).toMatchObject({ status: "stopped" });
    expect(stopped.reason).toContain("harm");
  });
});

describe("the ledger of a rollout", () => {
  it("has each fact once, and gives every decision again", async () => {
    await fleet(30);
    await firstVersion();
    const { id } = await start();
    const open = await openAttempts(id);
    for (const attempt of open) {
      const isControl = attempt.arm === "control";
      const gates = [pairedGate(isControl ? 0 : 1, 0)];
      await answer(attempt, { gates, ...(isControl && { outcome: "observed" }) });
      // A second copy, and another story: the first outcome stands.
      await answer(attempt, { gates, ...rolledBack });
    }
    world.passTime(2 * hourMs);
    await advanceAllRollouts(world.ctx);
    const evidence = await evidenceOf(world.db, id);
    expect(evidence).toMatchObject({ offered: 6, passed: 6, rolledBack: 0, well: 6, pairs: 6 });
    expect(evidence.decisions.length).toBeGreaterThan(0);
    expect(evidence.decisions.every(({ replays }) => replays)).toBe(true);
    const kinds = (await ledgerRows(world.db, id)).map(({ body }) => body.kind);
    expect(kinds.filter((kind) => kind === "pair")).toHaveLength(6);
    expect(kinds.filter((kind) => kind === "pair-harm")).toHaveLength(6);
  });
});
