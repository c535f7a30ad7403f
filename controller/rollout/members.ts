/**
 * Who belongs to a rollout: devices are selected when a stage begins, and those that appear later (they
 * enrol, come back, change class) join the stage under way when it takes all that it matches.
 *
 * Invariant: a device is a member of a rollout once; a newer rollout of the model takes it away.
 */

import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { prepared } from "../storage/prepared.ts";
import type { RolloutMemberTable, RolloutTable } from "../storage/schema.ts";
import { type Candidate, candidatesOf, type RolloutRef } from "./candidates.ts";
import { drawPairs, stratumOf } from "./evidence/pairing.ts";
import { excludedStatus, isExcluded } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import { unprovenBundles } from "./proven.ts";
import { mayTake, type Selector, selectDevices, takesLatecomers } from "./selection.ts";
import { liveStatuses } from "./transitions.ts";
import { stateOf } from "./views.ts";

/** Rows of one insert; SQLite limits the values of a statement. */
const rowsMax = 1_000;

/** Selects the devices of the current stage; answers how many there are. */
export async function selectStage(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
  state: RolloutState,
): Promise<number> {
  const stage = state.stages[state.stage];
  if (stage === undefined) return 0;
  const all = await candidatesOf(ctx, trx, rollout);
  const members = await membersOf(trx, rollout.id);
  const taken = await takenByNewer(trx, rollout);
  const rest = all.filter(
    (one) => !members.has(one.id) && !taken.has(one.id) && !isExcluded(state, one),
  );
  const selected = selectDevices(stage.select, { all, rest, seed: state.seed });
  const isLast = state.stage === state.stages.length - 1;
  const controls = isLast
    ? new Set<string>()
    : await drawControls(ctx, trx, { rollout, state, selected });
  await addMembers(trx, rollout, state, { devices: selected, controls });
  const released = isLast ? await releaseControls(trx, rollout.id, state.stage) : 0;
  const unproven = await unprovenBundles(trx, rollout.id);
  const held = selected.filter(({ bundleSha256 }) => unproven.has(bundleSha256));
  if (held.length > 0) await recordHeld(ctx, trx, { rollout: rollout.id, stage: stage.name, held });
  return selected.length + released;
}

/** Draws the pairs of a stage by lot, where pairs are what is judged; answers who is a control. */
async function drawControls(
  ctx: ControllerContext,
  trx: Database,
  options: { rollout: RolloutTable; state: RolloutState; selected: readonly Candidate[] },
): Promise<Set<string>> {
  const { rollout, state, selected } = options;
  const known = await ctx.evidence.of(trx, rollout.id);
  if (known === undefined || known.rules.judge === "device-gates") return new Set();
  const { count } = await trx
    .selectFrom("pairs")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("rollout", "=", rollout.id)
    .executeTakeFirstOrThrow();
  const strata = new Set(known.rules.strata);
  const { pairs } = drawPairs(
    selected.filter((device) => device.mayControl && strata.has(stratumOf(device))),
    { seed: seedOf(state), first: count },
  );
  for (let at = 0; at < pairs.length; at += rowsMax) {
    const rows = pairs.slice(at, at + rowsMax);
    await trx
      .insertInto("pairs")
      .values(rows.map((pair) => ({ ...pair, rollout: rollout.id, stage: state.stage })))
      .execute();
  }
  return new Set(pairs.map(({ control }) => control));
}

/** 32 bits of the rollout's seed, other ones for each stage. */
function seedOf({ seed, stage }: RolloutState): number {
  const hash = sha256Hex(new TextEncoder().encode(`${seed}/pairs/${stage}`));
  return Number.parseInt(hash.slice(0, 8), 16);
}

/**
 * Controls of earlier stages get the release with everybody else. One that never heard of its trial has
 * nothing to say of it any more.
 */
async function releaseControls(trx: Database, rollout: string, stage: number): Promise<number> {
  await trx
    .updateTable("attempts")
    .set({ status: "withdrawn", why: "controls get the release with everybody else" })
    .where("rollout", "=", rollout)
    .where("arm", "=", "control")
    .where("outcome", "is", null)
    .where("status", "=", "offered")
    .execute();
  const released = await trx
    .updateTable("rolloutMembers")
    .set((eb) => ({
      arm: "fleet",
      stage,
      status: "pending",
      soak: null,
      retry: eb("retry", "+", 1),
    }))
    .where("rollout", "=", rollout)
    .where("arm", "=", "control")
    .where("status", "!=", excludedStatus)
    .returning("device")
    .execute();
  return released.length;
}

/**
 * Lets devices join that were not there when their stage began; only those of `devices` when they are
 * given. Answers how many joined or came back.
 */
export async function joinLate(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
  state: RolloutState,
  devices?: readonly string[],
): Promise<number> {
  const open = openSelectors(state);
  const members = await membersOf(trx, rollout.id, devices);
  if (open.length === 0 && members.size === 0) return 0;
  const candidates = await candidatesOf(ctx, trx, rollout, devices);
  const taken = await takenByNewer(trx, rollout, devices);
  const joining = candidates.filter(
    (device) =>
      !members.has(device.id) &&
      !taken.has(device.id) &&
      !isExcluded(state, device) &&
      open.some((select) => mayTake(select, device)),
  );
  await addMembers(trx, rollout, state, { devices: joining, controls: new Set() });
  let returned = 0;
  for (const device of candidates) {
    const member = members.get(device.id);
    if (member !== undefined && (await comesBack(trx, member, device))) returned++;
  }
  return joining.length + returned;
}

/** A member that could not be offered anything, or whose class has another variant now, is due again. */
async function comesBack(
  trx: Database,
  member: RolloutMemberTable,
  device: Candidate,
): Promise<boolean> {
  const { rollout } = member;
  const reclassified = member.status === "offered" && member.deviceClass !== device.deviceClass;
  if (member.status !== "gone" && !reclassified) return false;
  const last = await trx
    .selectFrom("attempts")
    .select(["outcome", "bundleSha256"])
    .where("rollout", "=", rollout)
    .where("device", "=", device.id)
    .where("retry", "=", member.retry)
    .executeTakeFirst();
  if (last !== undefined && (last.outcome === null || last.bundleSha256 === device.bundleSha256))
    return false;
  const { region, deviceClass } = device;
  const retry = last === undefined ? member.retry : member.retry + 1;
  await trx
    .updateTable("rolloutMembers")
    .set({ status: "pending", retry, region, deviceClass, notBeforeMs: 0 })
    .where("rollout", "=", rollout)
    .where("device", "=", device.id)
    .execute();
  return true;
}

/**
 * Whether the appearance of a device may change anything: not for a member that has its offer, or gets
 * none, as its class stands, nor for others where nobody joins.
 */
export async function mayConcern(
  db: Database,
  rollout: RolloutTable,
  device: string,
): Promise<boolean> {
  const [member] = (await standOf(db, { rollout: rollout.id, device })).rows;
  if (member === undefined) return openSelectors(stateOf(rollout)).length > 0;
  const { status, deviceClass, classNow } = member;
  return !["offered", "held", "taken"].includes(status) || deviceClass !== classNow;
}

const standOf = prepared((db, { rollout, device }: { rollout: string; device: string }) =>
  db
    .selectFrom("rolloutMembers")
    .innerJoin("devices", "devices.id", "rolloutMembers.device")
    .select([
      "rolloutMembers.status",
      "rolloutMembers.deviceClass",
      "devices.deviceClass as classNow",
    ])
    .where("rolloutMembers.rollout", "=", rollout)
    .where("rolloutMembers.device", "=", device),
);

/** What stages that have begun take all of. */
function openSelectors({ stages, stage }: RolloutState): Selector[] {
  return stages
    .slice(0, stage + 1)
    .map(({ select }) => select)
    .filter(takesLatecomers);
}

export async function memberCount(db: Database, rollout: string): Promise<number> {
  return (await countedMembers(db, { rollout })).rows[0]?.count ?? 0;
}

const countedMembers = prepared((db, { rollout }: { rollout: string }) =>
  db
    .selectFrom("rolloutMembers")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("rollout", "=", rollout),
);

export async function isPendingMember(
  trx: Database,
  rollout: string,
  device: string,
): Promise<boolean> {
  return (await standOf(trx, { rollout, device })).rows[0]?.status === "pending";
}

async function membersOf(
  trx: Database,
  rollout: string,
  devices?: readonly string[],
): Promise<Map<string, RolloutMemberTable>> {
  const rows = await trx
    .selectFrom("rolloutMembers")
    .selectAll()
    .where("rollout", "=", rollout)
    .$if(devices !== undefined, (query) => query.where("device", "in", [...(devices ?? [])]))
    .execute();
  return new Map(rows.map((row) => [row.device, row]));
}

async function addMembers(
  trx: Database,
  rollout: RolloutRef,
  state: RolloutState,
  { devices, controls }: { devices: readonly Candidate[]; controls: ReadonlySet<string> },
): Promise<void> {
  const arm = state.stage === state.stages.length - 1 ? "fleet" : "canary";
  const rows = devices.map(({ id, region, deviceClass }, place) => ({
    rollout: rollout.id,
    device: id,
    stage: state.stage,
    place,
    region,
    deviceClass,
    status: "pending",
    retry: 0,
    notBeforeMs: 0,
    arm: controls.has(id) ? "control" : arm,
    soak: null,
  }));
  for (let at = 0; at < rows.length; at += rowsMax) {
    await trx
      .insertInto("rolloutMembers")
      .values(rows.slice(at, at + rowsMax))
      .execute();
  }
}

/** Devices that a newer rollout of the model has offered something and may offer more. */
export async function takenByNewer(
  trx: Database,
  rollout: RolloutRef,
  devices?: readonly string[],
): Promise<Set<string>> {
  const rows = await trx
    .selectFrom("attempts")
    .innerJoin("rollouts", "rollouts.id", "attempts.rollout")
    .select("attempts.device")
    .where("rollouts.model", "=", rollout.model)
    .where("rollouts.releaseCounter", ">", rollout.releaseCounter)
    .where("rollouts.status", "in", [...liveStatuses, "completed"])
    .where("attempts.status", "!=", "withdrawn")
    .$if(devices !== undefined, (query) =>
      query.where("attempts.device", "in", [...(devices ?? [])]),
    )
    .distinct()
    .execute();
  return new Set(rows.map(({ device }) => device));
}

async function recordHeld(
  ctx: ControllerContext,
  trx: Database,
  { rollout, stage, held }: { rollout: string; stage: string; held: readonly Candidate[] },
): Promise<void> {
  const classes = [...new Set(held.map(({ deviceClass }) => deviceClass))].sort();
  await recordEvent(trx, {
    atMs: ctx.clock.wallMs(),
    kind: "rollout-held",
    subject: rollout,
    message: `stage "${stage}" left out ${held.length} devices of ${classes.join(", ")}: their variant was rolled back and never committed`,
    data: { devices: held.map(({ id }) => id) },
  });
}
