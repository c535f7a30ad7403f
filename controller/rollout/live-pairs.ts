/**
 * From what devices observed in service to entries of the ledger: both devices of a pair at one horizon.
 *
 * Invariants: what is missing makes no entry, since no traffic is no good news and no bad one; whether a
 * pair speaks depends on canary and control alike, so it favours neither.
 */
import {
  type ObservedSignals,
  observedSignalsSchema,
  type Signal,
  type SignalName,
} from "../../shared/protocol/messages/observation.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import type { EvidenceEntry } from "./evidence/entry.ts";
import { liveSignals } from "./evidence/signals.ts";
import { addEntries } from "./evidence/store.ts";
import { pairOf } from "./soaks.ts";

/** Inferences before and after, on each device of the pair: of fewer nothing is concluded. */
export const inferencesMin = 20;

/** By how much the canary fell behind its control, for each signal that all four means can speak of. */
export function liveDrops(
  canary: ObservedSignals,
  control: ObservedSignals,
): { signal: SignalName; drop: number }[] {
  return liveSignals.flatMap(({ name, higherIsWorse }) => {
    const [mine, its] = [canary[name], control[name]];
    if (mine === undefined || its === undefined || ![mine, its].every(speaks)) return [];
    const rise = change(mine) - change(its);
    const drop = higherIsWorse ? rise : -rise;
    return [{ signal: name, drop: Math.min(1, Math.max(-1, drop)) }];
  });
}

const change = ({ before, after }: Signal): number => after.mean - before.mean;

/** Every live signal is a share; anything else is a device's mistake. */
function speaks({ before, after }: Signal): boolean {
  return [before, after].every(({ mean, n }) => n >= inferencesMin && mean >= 0 && mean <= 1);
}

/**
 * Call after the observation of an attempt was stored. Answers whether its pair said something new: both
 * have reported this horizon, and the rules of the rollout ask for it.
 */
export async function recordLivePair(
  ctx: ControllerContext,
  trx: Database,
  { rollout, device, horizonMs }: { rollout: string; device: string; horizonMs: number },
): Promise<boolean> {
  const pair = await pairOf(trx, rollout, device);
  const known = pair && (await ctx.evidence.of(trx, rollout));
  if (pair === undefined || known === undefined) return false;
  const rows = await trx
    .selectFrom("observations")
    .innerJoin("attempts", "attempts.id", "observations.attempt")
    .select(["observations.device", "observations.signalsJson", "attempts.arm"])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.device", "in", [pair.canary, pair.control])
    .where("observations.horizonMs", "=", horizonMs)
    .orderBy("observations.receivedAtMs")
    .orderBy("observations.attempt")
    .execute();
  const observedBy = (wanted: string, isControl: boolean) => {
    const row = rows.find((each) => {
      return each.device === wanted && (each.arm === "control") === isControl;
    });
    return row && observedSignalsSchema.parse(JSON.parse(row.signalsJson));
  };
  const [canary, control] = [observedBy(pair.canary, false), observedBy(pair.control, true)];
  if (canary === undefined || control === undefined) return false;
  const entries = liveDrops(canary, control).flatMap(({ signal, drop }): EvidenceEntry[] => {
    const rule = known.rules.signals.find(({ name }) => name === signal);
    const horizon = rule?.horizonsMs.indexOf(horizonMs) ?? -1;
    const { pair: name, stratum } = pair;
    if (horizon < 0) return [];
    return [{ kind: "pair", pair: name, stratum, signal, horizon, drop, shard: null }];
  });
  await addEntries(trx, rollout, entries, ctx.clock.wallMs());
  return entries.length > 0;
}
