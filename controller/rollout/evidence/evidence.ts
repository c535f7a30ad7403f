/**
 * The evidence of one rollout: entries in, values of its tests out. No I/O, no clock.
 *
 * Invariants: an entry counts once, however often it comes; the values after a sequence of entries are
 * the same in every split of that sequence; stages follow each other on one evidence, so their e-values
 * multiply and the error is per rollout, not per stage.
 */
import { type DeviceCounts, type Harmed, tallyDevices } from "./devices.ts";
import { type EvidenceEntry, entryKey } from "./entry.ts";
import { type SeriesView, type StratumTest, tallyPairs } from "./pairs.ts";
import type { EvidenceRules } from "./rules.ts";
import type { TestValue } from "./test-value.ts";

export interface Evidence {
  /**
   * False when the entry says nothing new: it was known, or its golden shard spoke already. Throws on a
   * stratum or signal that the rules do not name.
   */
  add(entry: EvidenceEntry): boolean;
  readonly counts: () => DeviceCounts & { readonly pairs: number };
  /** Tests that may roll back; pairs of strata that were taken back have no part in them. */
  readonly stopping: (excluded: ReadonlySet<string>) => TestValue[];
  /** Tests that must all hold before the whole fleet. */
  readonly promoting: () => TestValue[];
  /** What the pairs of each stratum say alone, as of now. */
  readonly strata: () => StratumTest[];
  /** Every signal at every horizon, over the strata that are left. */
  readonly series: (excluded: ReadonlySet<string>) => SeriesView[];
  /**
   * Devices by their soak: who has not ended it counts as harmed. A claim is about all of them, an expansion
   * about the strata that are left.
   */
  readonly harmed: (excluded: ReadonlySet<string>) => Harmed;
  /** Mean drop of a signal at the last horizon, over all strata; NaN without pairs. */
  readonly meanDrop: (signal: string) => number;
}

export function createEvidence(rules: EvidenceRules): Evidence {
  const seen = new Set<string>();
  const devices = tallyDevices(rules);
  const pairs = tallyPairs(rules);
  return {
    add(entry) {
      const key = entryKey(entry);
      if (seen.has(key)) return false;
      if (entry.kind === "pair" && !pairs.add(entry)) return false;
      if (entry.kind !== "pair") devices.add(entry);
      seen.add(key);
      return true;
    },
    counts: () => ({ ...devices.counts(), pairs: pairs.pairs() }),
    stopping: (excluded) => [...devices.stopping(), ...pairs.stopping(excluded)],
    promoting: () => [...pairs.promoting(), devices.promoting()],
    strata: pairs.strata,
    series: pairs.series,
    harmed: devices.harmed,
    meanDrop: pairs.meanDrop,
  };
}
