/**
 * What a rollout would bring to which devices, by its kind: a release brings the variant that the class
 * chose, an A/A rollout the bundle that the device runs already, a rollback the bundle that it ran before.
 */

import { compareVersions } from "../../shared/versions.ts";
import type { ControllerContext } from "../context.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import type { Database } from "../storage/database.ts";
import type { RolloutTable } from "../storage/schema.ts";
import type { Selectable } from "./selection.ts";

export interface Candidate extends Selectable {
  readonly classRule: Pick<DeviceClass, "name" | "budget">;
  readonly version: string;
  readonly bundleSha256: string;
  readonly recipe: string;
  readonly choiceEmulated: boolean;
  /** It runs a committed bundle. */
  readonly runsModel: boolean;
  /** It runs a committed bundle and its agent knows controls, so it may be compared with a canary. */
  readonly mayControl: boolean;
}

export type RolloutRef = Pick<
  RolloutTable,
  "id" | "kind" | "model" | "version" | "restores" | "releaseCounter"
>;

/** Active devices that the rollout can bring something to; only those of `devices` when they are given. */
export async function candidatesOf(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutRef,
  devices?: readonly string[],
): Promise<Candidate[]> {
  if (rollout.kind === "rollback") return returning(ctx, trx, rollout, devices);
  const chosen = await withChoice(ctx, trx, rollout, devices);
  if (rollout.kind !== "aa") return chosen;
  const runs = await commitsOf(trx, rollout.model, devices);
  return chosen.filter(
    ({ id, bundleSha256 }) => runs.get(id)?.at(-1)?.bundleSha256 === bundleSha256,
  );
}

/** Devices whose class chose a variant of the rollout's version. */
async function withChoice(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutRef,
  devices: readonly string[] | undefined,
): Promise<Candidate[]> {
  const choices = await trx
    .selectFrom("choices")
    .select(["deviceClass", "bundleSha256", "recipe", "emulated"])
    .where("model", "=", rollout.model)
    .where("version", "=", rollout.version)
    .execute();
  const byClass = new Map(choices.map((choice) => [choice.deviceClass, choice]));
  const { version } = rollout;
  const runs = await commitsOf(trx, rollout.model, devices);
  return (await activeDevices(ctx, trx, devices)).flatMap((device) => {
    const choice = byClass.get(device.deviceClass);
    if (choice === undefined) return [];
    const { bundleSha256, recipe, emulated } = choice;
    if (bundleSha256 === null || recipe === null) return [];
    const runsModel = runs.has(device.id);
    const mayControl = runsModel && compareVersions(device.agentVersion, controlAgentMin) >= 0;
    const choiceEmulated = emulated === 1;
    return { ...device, version, bundleSha256, recipe, choiceEmulated, runsModel, mayControl };
  });
}

/** Devices whose newest commit came from the rollout that is taken back, with the commit before it. */
async function returning(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutRef,
  devices: readonly string[] | undefined,
): Promise<Candidate[]> {
  const commits = await commitsOf(trx, rollout.model, devices);
  const active = await activeDevices(ctx, trx, devices, anyClass);
  return active.flatMap((device) => {
    // What the campaign itself committed is its result, not what the device ran.
    const own = commits.get(device.id)?.filter((commit) => commit.rollout !== rollout.id) ?? [];
    const newest = own.at(-1);
    if (newest?.rollout !== rollout.restores) return [];
    const before = own.findLast((commit) => commit.rollout !== rollout.restores);
    if (before === undefined) return [];
    const { version, bundleSha256, recipe } = before;
    const known = { runsModel: true, mayControl: false, choiceEmulated: false };
    return { ...device, ...known, version, bundleSha256, recipe };
  });
}

/** Oldest agent that can be a control. */
const controlAgentMin = "0.2.0";

/** What controls of the model run now: they are tried on it once more, beside their canary. */
export async function committedNow(
  trx: Database,
  model: string,
  devices: readonly string[],
): Promise<Map<string, Pick<Commit, "version" | "bundleSha256" | "recipe">>> {
  const commits = await commitsOf(trx, model, devices);
  return new Map([...commits].flatMap(([id, of]) => of.slice(-1).map((last) => [id, last])));
}

interface Commit {
  readonly device: string;
  readonly rollout: string;
  readonly version: string;
  readonly bundleSha256: string;
  readonly recipe: string;
}

/** What each device committed of a model, oldest first. */
async function commitsOf(
  trx: Database,
  model: string,
  devices: readonly string[] | undefined,
): Promise<Map<string, Commit[]>> {
  const rows = await trx
    .selectFrom("attempts")
    .select(["device", "rollout", "version", "bundleSha256", "recipe"])
    .where("model", "=", model)
    .where("outcome", "=", "committed")
    .$if(devices !== undefined, (query) => query.where("device", "in", [...(devices ?? [])]))
    .orderBy("releaseCounter")
    .execute();
  const commits = new Map<string, Commit[]>();
  for (const row of rows) {
    const known = commits.get(row.device);
    if (known === undefined) commits.set(row.device, [row]);
    else known.push(row);
  }
  return commits;
}

/** The class that a device has for going back, when the classes of today have none for it. */
const anyClass: Candidate["classRule"] = { name: "none", budget: { metricFloor: 0 } };

/** Active devices of a class; of none as well when it is said what they are then taken for. */
async function activeDevices(
  ctx: ControllerContext,
  trx: Database,
  devices: readonly string[] | undefined,
  otherwise?: Candidate["classRule"],
): Promise<(Selectable & Pick<Candidate, "classRule"> & { agentVersion: string })[]> {
  const rows = await trx
    .selectFrom("devices")
    .select(["id", "region", "deviceClass", "online", "labelsJson", "profileJson", "agentVersion"])
    .where("standing", "=", "active")
    .$if(devices !== undefined, (query) => query.where("id", "in", [...(devices ?? [])]))
    .execute();
  const rules = new Map(ctx.fleet.classes.map((rule) => [rule.name, rule]));
  return rows.flatMap(({ deviceClass, online, ...row }) => {
    const classRule = rules.get(deviceClass ?? "") ?? otherwise;
    if (classRule === undefined) return [];
    return { ...row, deviceClass: classRule.name, online: online === 1, classRule };
  });
}
