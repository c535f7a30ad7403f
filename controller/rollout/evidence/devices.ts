/**
 * What single devices say: trials, failures, and how their soak ended.
 *
 * Invariant: for a rollback, devices that have not answered count as well; for a claim, as harmed. So the
 * order in which answers come, rollbacks perhaps before commits, makes no evidence of either kind.
 */
import { bernoulliLogE, mcnemarLogE } from "../../../shared/statistics/e-process.ts";
import type { EvidenceEntry } from "./entry.ts";
import { kept } from "./kept.ts";
import { type EvidenceRules, errorShares, firstTrialsCount } from "./rules.ts";
import type { TestValue } from "./test-value.ts";

export interface DeviceCounts {
  readonly offered: number;
  readonly trials: {
    readonly passed: number;
    readonly rolledBack: number;
    readonly failed: number;
  };
  readonly soaked: { readonly harmed: number; readonly well: number };
  readonly pairHarm: { readonly canaryOnly: number; readonly controlOnly: number };
  /** One of the first devices of the drawn order rolled back. */
  readonly firstRolledBack: boolean;
}

export interface Harmed {
  readonly harmed: number;
  readonly well: number;
}

export interface DeviceTally {
  add(entry: Exclude<EvidenceEntry, { kind: "pair" }>): void;
  readonly counts: () => DeviceCounts;
  /** Of the strata that are left. */
  readonly harmed: (excluded: ReadonlySet<string>) => Harmed;
  readonly stopping: () => TestValue[];
  readonly promoting: () => TestValue;
}

export function tallyDevices(rules: EvidenceRules): DeviceTally {
  const first = firstTrialsCount(rules);
  const firstDevices = new Set<string>();
  const trials = { passed: 0, rolledBack: 0, failed: 0 };
  const soaked = { harmed: 0, well: 0 };
  const pairHarm = { canaryOnly: 0, controlOnly: 0 };
  const strata = new Map<string, { offered: number; harmed: number; well: number }>();
  let offered = 0;
  const stratumOf = (name: string) => {
    const known = strata.get(name) ?? { offered: 0, harmed: 0, well: 0 };
    strata.set(name, known);
    return known;
  };
  let firstRolledBack = false;
  const noteFirst = (device: string) => {
    if (firstDevices.has(device)) firstRolledBack = true;
  };
  const counts = () => ({
    offered,
    trials: { ...trials },
    soaked: { ...soaked },
    pairHarm: { ...pairHarm },
    firstRolledBack,
  });
  const harmed = (excluded: ReadonlySet<string>) => {
    const left = { offered, ...soaked };
    for (const name of excluded) {
      const { offered, harmed, well } = stratumOf(name);
      left.offered -= offered;
      left.harmed -= harmed;
      left.well -= well;
    }
    return { harmed: Math.max(left.harmed, left.offered - left.well), well: left.well };
  };
  const stopping = kept(() => deviceTests(rules, counts()));
  const promoting = kept(() => harmedBelow(rules, harmed(new Set()), rules.harmedShareMax));
  return {
    add(entry) {
      switch (entry.kind) {
        case "offered":
          offered++;
          stratumOf(entry.stratum).offered++;
          if (entry.place !== null && entry.place < first) firstDevices.add(entry.device);
          break;
        case "trial":
          trials[resultKey[entry.result]]++;
          if (entry.result === "rolled-back") noteFirst(entry.device);
          break;
        case "taken-back":
          trials.rolledBack++;
          noteFirst(entry.device);
          break;
        case "soaked":
          soaked[entry.harmed ? "harmed" : "well"]++;
          stratumOf(entry.stratum)[entry.harmed ? "harmed" : "well"]++;
          break;
        case "pair-harm":
          if (entry.canary !== entry.control)
            pairHarm[entry.canary ? "canaryOnly" : "controlOnly"]++;
          break;
      }
      stopping.changed();
      promoting.changed();
    },
    counts,
    harmed,
    stopping: stopping.get,
    promoting: promoting.get,
  };
}

const resultKey = { passed: "passed", "rolled-back": "rolledBack", failed: "failed" } as const;

/** Evidence that fewer than `rate` of the devices are harmed. */
export function harmedBelow(
  rules: EvidenceRules,
  { harmed, well }: { harmed: number; well: number },
  rate: number,
): TestValue {
  return {
    name: "promote harmed-share",
    logE: bernoulliLogE({ ones: harmed, zeros: well }, { rate, side: "below" }),
    logThreshold: -Math.log(rules.beta),
  };
}

function deviceTests(rules: EvidenceRules, counted: DeviceCounts): TestValue[] {
  const { alphaRollout, alphaDevice, failureRateMax } = rules;
  const { offered, trials, pairHarm } = counted;
  const needs = (share: number) => -Math.log(alphaRollout * share);
  const share = (ones: number, rate: number) =>
    bernoulliLogE({ ones, zeros: Math.max(0, offered - ones) }, { rate, side: "above" });
  const first = firstTrialsCount(rules);
  return [
    {
      name: "first-trials",
      finding: `one of the first ${first} devices rolled back by its own gates`,
      logE: counted.firstRolledBack ? -Math.log(first * alphaDevice) : 0,
      logThreshold: needs(errorShares.firstTrials),
    },
    {
      name: "gate-rollbacks",
      finding: `${trials.rolledBack} of ${offered} devices rolled back by their own gates`,
      logE: share(trials.rolledBack, alphaDevice),
      logThreshold: needs(errorShares.gateRollbacks),
    },
    {
      name: "failures",
      finding: `${trials.failed} of ${offered} attempts failed, crashes among them`,
      logE: share(trials.failed, failureRateMax),
      logThreshold: needs(errorShares.failures),
    },
    {
      name: "harm",
      finding:
        rules.judge === "device-gates"
          ? `${counted.soaked.harmed} of ${offered} devices were harmed or fell silent`
          : `in ${pairHarm.canaryOnly} pairs only the canary was harmed or fell silent, in ${pairHarm.controlOnly} only the control`,
      // Without controls nobody knows how many fall silent anyway: the share that is borne stands in.
      logE:
        rules.judge === "device-gates"
          ? share(counted.soaked.harmed, rules.harmedShareMax)
          : mcnemarLogE(pairHarm.canaryOnly, pairHarm.controlOnly),
      logThreshold: needs(errorShares.harm),
    },
  ];
}
