/**
 * Which strata to look at first: each with the evidence that its pairs give on their own, and those that
 * stand out among all of them. For people; it decides nothing.
 *
 * Invariant: a stratum is one hypothesis, its e-value the mean over its signals and horizons as they are
 * now. Strata without a pair count with an e-value of 1.
 */
import { eBenjaminiHochberg } from "../../../shared/statistics/e-bh.ts";
import { logMean } from "../../../shared/statistics/e-process.ts";
import type { StratumTest } from "./pairs.ts";

/** Expected share of healthy strata among those that are named (reference §2.2.5). */
export const falseDiscoveryRate = 0.05;

export interface StratumFinding {
  readonly stratum: string;
  readonly logE: number;
  /** Named by e-BH among all strata of this look. */
  readonly suspected: boolean;
  readonly tests: readonly StratumTest[];
}

/** Strongest evidence first. */
export function findStrata(tests: readonly StratumTest[]): StratumFinding[] {
  const strata = [...Map.groupBy(tests, ({ stratum }) => stratum)].map(([stratum, own]) => {
    return { stratum, logE: logMean(own.map(({ logE }) => logE)), tests: own };
  });
  const named = eBenjaminiHochberg(
    strata.map(({ logE }) => logE),
    falseDiscoveryRate,
  );
  return strata
    .map((each, at) => ({ ...each, suspected: named[at] === true }))
    .sort((a, b) => b.logE - a.logE || (a.stratum < b.stratum ? -1 : 1));
}
