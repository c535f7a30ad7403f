/**
 * What a rollout promises, in numbers that are fixed before its first device: how often it may stop a
 * healthy release, how often it may promote a harmful one, and how these two errors are spent.
 *
 * Invariant: the shares of `errorShares` sum to 1, so all tests together stop a healthy release with
 * probability at most `alphaRollout`, however often and whenever they are looked at.
 */
import { z } from "zod";
import { rhoFor } from "../../../shared/statistics/e-process.ts";
import { type Signal, signalSchema, signalsFor } from "./signals.ts";

export const evidenceRulesSchema = z.strictObject({
  /** P(the rollout is ever rolled back | the release does no harm). */
  alphaRollout: z.number().gt(0).max(0.5),
  /** P(the rollout is ever promoted | the mean drop is deltaMax, or the harmed share is its limit). */
  beta: z.number().gt(0).max(0.5),
  /** P(one device rolls back a healthy release): what its own gates spend together. */
  alphaDevice: z.number().gt(0).max(0.1),
  /** Highest share of attempts that may fail for reasons of the world; above alphaDevice. */
  failureRateMax: z.number().gt(0).lt(1),
  /** A release that harms this share of devices or more must not be promoted. */
  harmedShareMax: z.number().gt(0).lt(1),
  /** Cumulated share of the fleet that may run a release without proof, as an expansion. */
  expansionShareMax: z.number().gt(0).max(1),
  signals: z.array(signalSchema).min(1).max(8),
  /** Region × class strata that the rollout was started with. */
  strata: z.array(z.string().max(160)).min(1).max(10_000),
  /** `device-gates` proves nothing of the fleet: devices decide, and what they say may stop it. */
  judge: z.enum(["e-process", "group-sequential", "device-gates"]),
  /** Pairs of the whole rollout, for `group-sequential` only: its looks are planned on it. */
  pairsPlanned: z.int().min(1).nullable(),
  /** A stratum that alone proves harm is taken back alone, or stops the rollout. */
  onStratumHarm: z.enum(["exclude", "stop"]).default("stop"),
});
export type EvidenceRules = z.infer<typeof evidenceRulesSchema>;

/** Reference, rollout statistics §2: the defaults of both promises, and gate 1's margin. */
export const defaultRules = {
  alphaRollout: 0.01,
  beta: 0.05,
  alphaDevice: 0.001,
  failureRateMax: 0.02,
  harmedShareMax: 0.05,
  expansionShareMax: 0.25,
  signals: signalsFor([]),
  judge: "e-process",
  pairsPlanned: null,
  onStratumHarm: "exclude",
} satisfies Omit<EvidenceRules, "strata">;

/** How alphaRollout is spent; the two rules on pairs have equal parts (reference §2.2.5). */
export const errorShares = {
  pairsInStratum: 0.15,
  pairsInFleet: 0.15,
  firstTrials: 0.3,
  gateRollbacks: 0.15,
  failures: 0.125,
  harm: 0.125,
} as const;

/**
 * The first devices of the drawn order, of which none may roll back: so many that a healthy release stops
 * here with the probability that is set aside for it. 0 when devices spend too much for any.
 */
export function firstTrialsCount({
  alphaRollout,
  alphaDevice,
}: Pick<EvidenceRules, "alphaRollout" | "alphaDevice">): number {
  // The sum must not lose a device to rounding.
  return Math.floor((alphaRollout * errorShares.firstTrials) / alphaDevice + 1e-9);
}

/**
 * The part of the pairs' error that a signal has at each of its horizons: a union over everything that may
 * take the release back, by weight (reference §2.2.4).
 */
export function seriesShare(
  { signals }: Pick<EvidenceRules, "signals">,
  { weight }: Pick<Signal, "weight">,
): number {
  const all = signals
    .filter(({ rollsBack }) => rollsBack)
    .reduce((sum, signal) => sum + signal.weight * signal.horizonsMs.length, 0);
  return weight / all;
}

/** Pairs at which the symmetric process is sharpest (reference §2.2.3, n* = 25). */
const pairsTuned = 25;

/** Tuning of a signal's symmetric processes; it has no part in their validity. */
export function rhoOf(
  { alphaRollout }: Pick<EvidenceRules, "alphaRollout">,
  { deviation }: Pick<Signal, "deviation">,
): number {
  return rhoFor(pairsTuned * deviation ** 2, alphaRollout * errorShares.pairsInFleet);
}
