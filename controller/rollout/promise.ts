/**
 * What a rollout promises and what its fleet can prove, fixed when it starts: rules of evidence, the
 * statement of power, and the stages of those who name none.
 */
import { type Stage, type StageOrder, stageSchema } from "../../shared/api/stages.ts";
import { assert } from "../../shared/assert.ts";
import type { ControllerConfig } from "../config.ts";
import type { ControllerContext } from "../context.ts";
import { horizonsOf } from "../soak/policy.ts";
import type { Database } from "../storage/database.ts";
import type { Candidate } from "./candidates.ts";
import { stratumOf } from "./evidence/pairing.ts";
import { type Power, powerOf } from "./evidence/power.ts";
import { defaultRules, type EvidenceRules } from "./evidence/rules.ts";
import { signalsFor } from "./evidence/signals.ts";

export type Judge = EvidenceRules["judge"];
export type OnStratumHarm = EvidenceRules["onStratumHarm"];

/** The share of failing attempts that is borne has to be well above what devices spend themselves. */
const failureRateOverAlpha = 4;

/** Rules for a rollout to `candidates`, what they can prove, and its stages. */
export async function promiseOf(
  ctx: ControllerContext,
  trx: Database,
  order: {
    model: string;
    version: string;
    judge?: Judge | undefined;
    onStratumHarm?: OnStratumHarm | undefined;
    stages?: readonly StageOrder[] | undefined;
    replaces?: boolean;
    gate?: Gate | undefined;
    candidates: readonly Candidate[];
  },
): Promise<{ rules: EvidenceRules; power: Power; stages: Stage[] }> {
  const { alphaDevice, alphaRollout, soakMs } = ctx.config;
  const { candidates } = order;
  const base = {
    ...defaultRules,
    alphaDevice,
    alphaRollout,
    failureRateMax: Math.max(defaultRules.failureRateMax, failureRateOverAlpha * alphaDevice),
    strata: [...new Set(candidates.map(stratumOf))].sort(),
    onStratumHarm: order.onStratumHarm ?? defaultRules.onStratumHarm,
  };
  const shards = await shardCount(trx, order);
  const pairs = candidates.filter(({ mayControl }) => mayControl).length / 2;
  const fleet = { devices: candidates.length, pairsMax: Math.min(pairs, shards) };
  const judge = order.judge ?? (powerOf(base, fleet).canPromote ? "e-process" : "device-gates");
  const stages =
    order.stages?.map((stage) => stageSchema.parse(stage)) ??
    stagesFor({ judge, replaces: order.replaces ?? true, gate: order.gate }, ctx.config);
  // Without pairs there is nobody to compare live signals with.
  const horizonsMs = judge === "device-gates" ? [] : horizonsOf(soakMs, stages);
  const judged = { ...base, judge, signals: signalsFor(horizonsMs) };
  const power = powerOf(judged, fleet);
  const pairsPlanned = judge === "group-sequential" ? Math.max(1, power.pairsPossible) : null;
  return { rules: { ...judged, pairsPlanned }, power, stages };
}

/** Golden shards of the version: each proves one pair, since devices on one shard share its luck. */
async function shardCount(
  trx: Database,
  { model, version }: { model: string; version: string },
): Promise<number> {
  const { count } = await trx
    .selectFrom("modelVersions")
    .innerJoin("goldenShards", "goldenShards.poolSha256", "modelVersions.poolSha256")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("model", "=", model)
    .where("version", "=", version)
    .executeTakeFirstOrThrow();
  return count;
}

export type Gate = Stage["gate"];

export interface Plan {
  readonly judge: Judge;
  /** Something runs already that the release could be worse than. */
  readonly replaces: boolean;
  /** Whether a person has to let the whole fleet follow; left out, where nothing is proven. */
  readonly gate?: Gate | undefined;
}

/**
 * One canary per class, watched for a while, and everybody at last. Between them: where proof is possible two
 * growing stages of pairs; where it is not, as much of the fleet as may run a release without proof, and then
 * a person decides. A first version can be worse than nothing that runs, so it needs neither.
 */
export function stagesFor(
  { judge, replaces, gate }: Plan,
  { canarySoakMs: soakMs }: Pick<ControllerConfig, "canarySoakMs">,
): Stage[] {
  const canary = { name: "canary", select: { by: "per-class", count: 1 }, soakMs };
  const paired = [
    { name: "early", select: { by: "percent", percent: 5 }, soakMs },
    // Half of them are controls, so a quarter of the fleet runs the release before the proof.
    { name: "wide", select: { by: "percent", percent: 44 }, soakMs },
  ];
  const unproven = { name: "early", select: { by: "percent", percent: 22 }, soakMs };
  const between = judge !== "device-gates" ? paired : replaces ? [unproven] : [];
  const needsPerson = judge === "device-gates" && replaces;
  const before = [canary, ...between].map((stage) => stageSchema.parse(stage));
  const last = before.pop();
  assert(last !== undefined, "a canary comes first");
  return [
    ...before,
    { ...last, gate: gate ?? (needsPerson ? "manual" : "automatic") },
    stageSchema.parse({ name: "fleet", select: { by: "all" } }),
  ];
}
