/**
 * Turns selected devices into attempts, as many as the stage allows at a time, and takes back what a stop
 * no longer wants: rows of one transaction, sent by the caller afterwards.
 *
 * Invariants: a device is offered something only while it is connected, so nobody who is away holds a
 * place or is blamed; a bundle that devices of this rollout rolled back and none committed is offered to
 * nobody else, unless it goes back to where it ran; of several rollouts of a model the newest that offered something has the device.
 */
import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { ControllerContext } from "../context.ts";
import { raiseDesiredRevision } from "../fleet/desired.ts";
import { horizonsOf } from "../soak/policy.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { RolloutMemberTable, RolloutTable } from "../storage/schema.ts";
import { type Candidate, candidatesOf, committedNow, type RolloutRef } from "./candidates.ts";
import { drawReleaseCounter } from "./counter.ts";
import { excludedStatus, isExcluded } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import { takenByNewer } from "./members.ts";
import { loadOf, nextMembers, waitingPlaces } from "./offer-queue.ts";
import { batchMax, roomIn, withOffers } from "./pacing.ts";
import { unprovenBundles } from "./proven.ts";
import { signRelease } from "./release.ts";
import { recordOffers } from "./soaks.ts";

/** Limit of `nameSchema`, which the id of an attempt has to keep. */
const attemptIdCharsMax = 64;
const hashChars = 16;

/** Offers to connected members while there is room; answers whom to tell. */
export async function offerPending(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
  state: RolloutState,
): Promise<string[]> {
  const stage = state.stages[state.stage];
  if (stage === undefined) return [];
  const places = await waitingPlaces(ctx, trx, rollout.id, stage);
  if (places.length === 0) return [];
  let load = await loadOf(ctx, trx, rollout.id, stage);
  const devices: string[] = [];
  for (const place of places) {
    for (;;) {
      const room = roomIn(place, stage, load);
      const wanted = { rollout: rollout.id, stage, place, room };
      const members = room === 0 ? [] : await nextMembers(ctx, trx, wanted);
      if (members.length === 0) break;
      const offered = await offerTo(ctx, trx, { rollout, state, members });
      load = withOffers(load, place, offered.length);
      devices.push(...offered);
    }
  }
  await raiseDesiredRevision(trx, devices);
  return devices;
}

/** Every member leaves `pending`: offered, held, taken by a newer rollout, excluded, or gone. */
async function offerTo(
  ctx: ControllerContext,
  trx: Database,
  options: { rollout: RolloutTable; state: RolloutState; members: readonly RolloutMemberTable[] },
): Promise<string[]> {
  const { rollout, state, members } = options;
  const ids = members.map(({ device }) => device);
  const found = new Map((await candidatesOf(ctx, trx, rollout, ids)).map((one) => [one.id, one]));
  const taken = await takenByNewer(trx, rollout, ids);
  // What one device could not load may well run where it ran before.
  const unproven =
    rollout.kind === "rollback" ? new Set<string>() : await unprovenBundles(trx, rollout.id);
  const counters = await highestCounters(trx, rollout.model, ids);
  const runs = await committedNow(trx, rollout.model, ids);
  const offered: string[] = [];
  for (const member of members) {
    const device = found.get(member.device);
    const own = runs.get(member.device);
    const isControl = member.arm === "control";
    // A control that lost what it ran (another rollout, a swap) has nothing to be compared on.
    const target = isControl ? device && own && { ...device, ...own } : device;
    // It moved to where nothing is offered any more.
    const status =
      device !== undefined && isExcluded(state, device)
        ? excludedStatus
        : fate(member.device, { device: target, taken, unproven });
    if (status === "offered" && device !== undefined && target !== undefined) {
      const highest = counters.get(device.id) ?? 0;
      await addAttempt(ctx, trx, { rollout, state, member, device: target, highest });
      offered.push(device.id);
    }
    await setStatus(trx, member, status, device?.deviceClass ?? member.deviceClass);
  }
  await recordOffers(
    ctx,
    trx,
    members.filter(({ device }) => offered.includes(device)),
  );
  await overtakeOlder(ctx, trx, rollout, offered);
  return offered;
}

function fate(
  id: string,
  known: { device: Candidate | undefined; taken: Set<string>; unproven: Set<string> },
): "offered" | "held" | "taken" | "gone" {
  if (known.taken.has(id)) return "taken";
  if (known.device === undefined) return "gone";
  return known.unproven.has(known.device.bundleSha256) ? "held" : "offered";
}

async function setStatus(
  trx: Database,
  { rollout, device }: RolloutMemberTable,
  status: string,
  deviceClass: string,
): Promise<void> {
  await trx
    .updateTable("rolloutMembers")
    .set({ status, deviceClass })
    .where("rollout", "=", rollout)
    .where("device", "=", device)
    .execute();
}

/** Highest counter that we ever signed for each device: the next one has to be above it. */
async function highestCounters(
  trx: Database,
  model: string,
  devices: readonly string[],
): Promise<Map<string, number>> {
  const rows = await trx
    .selectFrom("attempts")
    .select(["device", (eb) => eb.fn.max("releaseCounter").as("highest")])
    .where("model", "=", model)
    .where("arm", "!=", "control")
    .where("device", "in", [...devices])
    .groupBy("device")
    .execute();
  return new Map(rows.map(({ device, highest }) => [device, highest]));
}

async function addAttempt(
  ctx: ControllerContext,
  trx: Database,
  options: {
    rollout: RolloutTable;
    state: RolloutState;
    member: RolloutMemberTable;
    device: Candidate;
    highest: number;
  },
): Promise<void> {
  const { rollout, state, member, device, highest } = options;
  const isControl = member.arm === "control";
  // A control installs nothing, so it uses up no counter.
  const isFresh = isControl || rollout.releaseCounter > highest;
  const releaseCounter = isFresh
    ? rollout.releaseCounter
    : await drawReleaseCounter(trx, rollout.model);
  const manifest = await signRelease(ctx, trx, {
    device: device.id,
    deviceClass: device.classRule,
    purpose: isControl ? "control" : "release",
    releaseCounter,
    bundleSha256: device.bundleSha256,
    choiceEmulated: device.choiceEmulated,
    returns: rollout.kind === "rollback",
    horizonsMs: horizonsOf(ctx.config.soakMs, state.stages),
  });
  const id = attemptId(rollout.id, device.id, member.retry);
  await trx
    .insertInto("attempts")
    .values({
      id,
      rollout: rollout.id,
      device: device.id,
      retry: member.retry,
      model: rollout.model,
      version: device.version,
      recipe: device.recipe,
      stage: member.stage,
      arm: member.arm,
      bundleSha256: device.bundleSha256,
      releaseCounter,
      manifestJson: JSON.stringify(manifest),
      status: "offered",
      outcome: null,
      code: null,
      why: null,
      gatesJson: null,
      servingSha256: null,
      createdAtMs: ctx.clock.wallMs(),
      decidedAtMs: null,
    })
    .execute();
  await trx
    .insertInto("desiredModels")
    .values({ device: device.id, model: rollout.model, attempt: id })
    .onConflict((conflict) => conflict.columns(["device", "model"]).doUpdateSet({ attempt: id }))
    .execute();
}

/** Readable where it fits; a long device name is cut and told apart by its hash. */
function attemptId(rollout: string, device: string, retry: number): string {
  const id = `a-${rollout.slice(2)}${retry === 0 ? "" : `.${retry}`}-${device}`;
  if (id.length <= attemptIdCharsMax) return id;
  const hash = sha256Hex(new TextEncoder().encode(device)).slice(0, hashChars);
  return `${id.slice(0, attemptIdCharsMax - hashChars - 1)}-${hash}`;
}

/** Older rollouts of the model lose the devices that this one has now offered something. */
async function overtakeOlder(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutRef,
  devices: readonly string[],
): Promise<void> {
  if (devices.length === 0) return;
  const stale = await trx
    .selectFrom("attempts")
    .innerJoin("rollouts", "rollouts.id", "attempts.rollout")
    .select(["attempts.id", "attempts.rollout", "attempts.device"])
    .where("attempts.model", "=", rollout.model)
    .where("attempts.device", "in", [...devices])
    .where("attempts.outcome", "is", null)
    .where("attempts.status", "=", "offered")
    .where("rollouts.releaseCounter", "<", rollout.releaseCounter)
    .execute();
  await markWithdrawn(
    trx,
    stale.map(({ id }) => id),
    `rollout ${rollout.id} is newer and has this device now`,
  );
  for (const older of new Set(stale.map((row) => row.rollout))) {
    const lost = stale.filter((row) => row.rollout === older).map(({ device }) => device);
    await trx
      .updateTable("rolloutMembers")
      .set({ status: "taken" })
      .where("rollout", "=", older)
      .where("device", "in", lost)
      .execute();
    await recordEvent(trx, {
      atMs: ctx.clock.wallMs(),
      kind: "rollout-overtaken",
      subject: older,
      message: `${lost.length} devices went to the newer rollout ${rollout.id}`,
      data: { devices: lost },
    });
  }
}

async function markWithdrawn(trx: Database, ids: readonly string[], why: string): Promise<void> {
  if (ids.length === 0) return;
  await trx
    .updateTable("attempts")
    .set({ status: "withdrawn", why })
    .where("id", "in", [...ids])
    .execute();
}

/**
 * Open attempts are no longer wanted; only those of members with a status when one is given. Devices that
 * are trying them end as "superseded" and say so; those that never saw them have nothing to say, and the
 * attempt stays "withdrawn".
 */
export async function withdrawOpen(
  trx: Database,
  rollout: string,
  why: string,
  memberStatus?: string,
): Promise<string[]> {
  const open = await trx
    .selectFrom("attempts")
    .innerJoin("rolloutMembers", (join) =>
      join
        .onRef("rolloutMembers.rollout", "=", "attempts.rollout")
        .onRef("rolloutMembers.device", "=", "attempts.device"),
    )
    .select(["attempts.id", "attempts.device"])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.outcome", "is", null)
    .where("attempts.status", "=", "offered")
    .$if(memberStatus !== undefined, (query) =>
      query.where("rolloutMembers.status", "=", memberStatus ?? ""),
    )
    .execute();
  for (let at = 0; at < open.length; at += batchMax) {
    const ids = open.slice(at, at + batchMax).map(({ id }) => id);
    await trx.deleteFrom("desiredModels").where("attempt", "in", ids).execute();
    await markWithdrawn(trx, ids, why);
  }
  const devices = open.map(({ device }) => device);
  await raiseDesiredRevision(trx, devices);
  return devices;
}
