/**
 * What a stage offers to devices and what a stop takes back: rows of one transaction, sent by the caller
 * afterwards.
 *
 * Invariant: a bundle that devices of this rollout rolled back and none committed is offered to nobody
 * else, also where the rollout as a whole goes on for other classes.
 */
import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { ControllerContext } from "../context.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import { raiseDesiredRevision } from "../fleet/desired.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { RolloutTable } from "../storage/schema.ts";
import type { RolloutState } from "./machine.ts";
import { signRelease } from "./release.ts";
import { type Selectable, selectDevices } from "./selection.ts";

/** Limit of `nameSchema`, which the id of an attempt has to keep. */
const attemptIdCharsMax = 64;
const hashChars = 16;

interface Reachable extends Selectable {
  readonly classRule: DeviceClass;
  readonly bundleSha256: string;
  readonly recipe: string;
  readonly choiceEmulated: boolean;
}

/** Creates an attempt for each device that the current stage adds; answers whom to tell. */
export async function offerStage(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
  state: RolloutState,
): Promise<string[]> {
  const stage = state.stages[state.stage];
  if (stage === undefined) return [];
  const reachable = await reachableDevices(ctx, trx, rollout);
  const taken = await trx
    .selectFrom("attempts")
    .select(["device", "bundleSha256", "outcome"])
    .where("rollout", "=", rollout.id)
    .execute();
  const before = new Set(taken.map(({ device }) => device));
  const unproven = unprovenBundles(taken);
  const rest = reachable.filter(({ id }) => !before.has(id));
  const selected = selectDevices(stage.select, rest, reachable.length);
  const held = selected.filter(({ bundleSha256 }) => unproven.has(bundleSha256));
  const offered = selected.filter(({ bundleSha256 }) => !unproven.has(bundleSha256));
  const last = state.stage === state.stages.length - 1;
  for (const device of offered) {
    await addAttempt(ctx, trx, { rollout, state, device, arm: last ? "fleet" : "canary" });
  }
  if (held.length > 0) await recordHeld(ctx, trx, { rollout: rollout.id, stage: stage.name, held });
  const devices = offered.map(({ id }) => id);
  await raiseDesiredRevision(trx, devices);
  return devices;
}

function unprovenBundles(
  taken: readonly { bundleSha256: string; outcome: string | null }[],
): Set<string> {
  const bundlesThat = (wanted: string) =>
    taken.filter(({ outcome }) => outcome === wanted).map(({ bundleSha256 }) => bundleSha256);
  const committed = new Set(bundlesThat("committed"));
  return new Set(bundlesThat("rolled-back").filter((bundle) => !committed.has(bundle)));
}

async function recordHeld(
  ctx: ControllerContext,
  trx: Database,
  { rollout, stage, held }: { rollout: string; stage: string; held: readonly Reachable[] },
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

/** Active devices whose class exists and chose a variant of this version. */
async function reachableDevices(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
): Promise<Reachable[]> {
  const rows = await trx
    .selectFrom("devices")
    .innerJoin("choices", "choices.deviceClass", "devices.deviceClass")
    .select([
      "devices.id",
      "devices.region",
      "choices.deviceClass",
      "choices.bundleSha256",
      "choices.recipe",
      "choices.emulated",
    ])
    .where("choices.model", "=", rollout.model)
    .where("choices.version", "=", rollout.version)
    .where("choices.bundleSha256", "is not", null)
    .where("devices.standing", "=", "active")
    .execute();
  const measured = await trx
    .selectFrom("measurements")
    .select("device")
    .where("model", "=", rollout.model)
    .where("version", "=", rollout.version)
    .execute();
  const first = new Set(measured.map(({ device }) => device));
  const rules = new Map(ctx.fleet.classes.map((rule) => [rule.name, rule]));
  return rows.flatMap(({ id, region, deviceClass, bundleSha256, recipe, emulated }) => {
    const classRule = rules.get(deviceClass);
    if (classRule === undefined || bundleSha256 === null || recipe === null) return [];
    const measured = first.has(id);
    const choiceEmulated = emulated === 1;
    return { id, region, deviceClass, measured, classRule, bundleSha256, recipe, choiceEmulated };
  });
}

async function addAttempt(
  ctx: ControllerContext,
  trx: Database,
  options: {
    rollout: RolloutTable;
    state: RolloutState;
    device: Reachable;
    arm: "canary" | "fleet";
  },
): Promise<void> {
  const { rollout, state, device, arm } = options;
  const manifest = await signRelease(ctx, trx, {
    device: device.id,
    deviceClass: device.classRule,
    purpose: "release",
    releaseCounter: state.releaseCounter,
    bundleSha256: device.bundleSha256,
    choiceEmulated: device.choiceEmulated,
  });
  const id = attemptId(rollout.id, device.id);
  await trx
    .insertInto("attempts")
    .values({
      id,
      rollout: rollout.id,
      device: device.id,
      model: rollout.model,
      version: rollout.version,
      recipe: device.recipe,
      stage: state.stage,
      arm,
      bundleSha256: device.bundleSha256,
      releaseCounter: state.releaseCounter,
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
function attemptId(rollout: string, device: string): string {
  const id = `a-${rollout.slice(2)}-${device}`;
  if (id.length <= attemptIdCharsMax) return id;
  const hash = sha256Hex(new TextEncoder().encode(device)).slice(0, hashChars);
  return `${id.slice(0, attemptIdCharsMax - hashChars - 1)}-${hash}`;
}

/** Open attempts are no longer wanted; devices that are trying them end as "superseded". */
export async function withdrawOpen(trx: Database, rollout: string): Promise<string[]> {
  const open = await trx
    .selectFrom("attempts")
    .select(["id", "device"])
    .where("rollout", "=", rollout)
    .where("outcome", "is", null)
    .execute();
  const ids = open.map(({ id }) => id);
  if (ids.length > 0) await trx.deleteFrom("desiredModels").where("attempt", "in", ids).execute();
  const devices = open.map(({ device }) => device);
  await raiseDesiredRevision(trx, devices);
  return devices;
}
