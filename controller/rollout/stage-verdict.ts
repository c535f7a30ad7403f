/**
 * How far a stage has come, by counts of its devices alone; pure. Whether the release does harm is told by
 * the evidence and not here.
 *
 * Invariant: no stage waits for ever, since every device that holds it is past its deadline at some time.
 */
/** Devices of one stage by what is known of them. */
export interface StageCount {
  /** Offered, undecided, inside the deadline. */
  readonly open: number;
  /** Past the deadline without a word. */
  readonly silent: number;
  /** Past the deadline, but the device said that it waits for its window or a hold. */
  readonly waiting: number;
  readonly committed: number;
  /** Rolled back by the device's own trial. */
  readonly rolledBack: number;
  /** Failed, refused or superseded: says nothing about the model. */
  readonly other: number;
  /** Online and to be offered when there is room. */
  readonly pending: number;
  /** Never offered: not connected. */
  readonly away: number;
  /** Left out, as their variant was rolled back and never committed. */
  readonly held: number;
  /** Went to a newer rollout of the model. */
  readonly taken: number;
  /** Of a stratum that was taken back alone: they count as nothing else. */
  readonly excluded: number;
}

export interface StageEvidence {
  /** Every stage that has begun; the current one is the last. */
  readonly counts: readonly StageCount[];
  readonly isLast: boolean;
  /** Since the current stage began. */
  readonly ageMs: number;
  /** Since its last commit; null before the first. */
  readonly settledMs: number | null;
  readonly deadlineMs: number;
  readonly soakMs: number;
}

export type StageVerdict =
  | { readonly kind: "waiting" }
  /** One stratum does harm, and is taken back alone. */
  | { readonly kind: "stratum-failed"; readonly stratum: string; readonly why: string }
  | {
      readonly kind: "passed" | "failed" | "inconclusive" | "overtaken";
      readonly why: string;
    };

/** Reference §2.2.6: share of harmed devices that a fleet must stay below. */
const harmedFractionMax = 0.05;

export const noDevices: StageCount = {
  open: 0,
  silent: 0,
  waiting: 0,
  committed: 0,
  rolledBack: 0,
  other: 0,
  pending: 0,
  away: 0,
  held: 0,
  taken: 0,
  excluded: 0,
};

export function stageVerdict(evidence: StageEvidence): StageVerdict {
  const count = evidence.counts.at(-1) ?? noDevices;
  const late = evidence.ageMs >= evidence.deadlineMs;
  if (count.open > 0 || count.pending > 0) return { kind: "waiting" };
  if (count.away > 0 && !late) return { kind: "waiting" };
  if (count.committed === 0) return withoutCommit(count, evidence);
  if ((evidence.settledMs ?? 0) < evidence.soakMs) return { kind: "waiting" };
  return afterCommits(count);
}

/** Devices of a stage that committed the release, by the end of their soak at the controller. */
export interface StageSoaks {
  readonly committed: number;
  /** Not heard of since the soak was over, and not yet given up. */
  readonly open: number;
  /** Never heard of again, or they took the release back. */
  readonly harmed: number;
}

/**
 * A stage that passed by its counts has passed when its devices were heard of after their soak: one that is
 * cut off may have taken the release back long ago, or be dead.
 */
export function afterSoaks(counted: StageVerdict, soaks: StageSoaks): StageVerdict {
  if (counted.kind !== "passed" || soaks.committed === 0) return counted;
  if (soaks.open > 0) return { kind: "waiting" };
  if (soaks.harmed / soaks.committed <= harmedFractionMax) return counted;
  const why = `${counted.why}; ${soaks.harmed} of these took it back or were not heard of after their soak`;
  return { kind: "inconclusive", why };
}

function withoutCommit(count: StageCount, evidence: StageEvidence): StageVerdict {
  const tried = count.silent + count.rolledBack + count.other;
  if (tried > 0) {
    const why = `no device of the stage committed (${parts(count)})`;
    return { kind: "failed", why };
  }
  if (count.waiting > 0) {
    const why = `${count.waiting} devices wait for their window or a hold and none committed yet`;
    return { kind: "inconclusive", why };
  }
  if (count.away > 0) {
    // Later stages rest on the canaries before them; a first stage rests on nothing.
    if (evidence.counts.length > 1) return passed(`nobody was there (${parts(count)})`);
    return { kind: "failed", why: `no device of the stage was there before its deadline` };
  }
  if (count.held > 0) {
    const why = `all devices of the stage were left out (${parts(count)})`;
    return evidence.isLast ? { kind: "failed", why } : passed(why);
  }
  if (count.taken > 0) {
    return { kind: "overtaken", why: `all ${count.taken} devices went to a newer rollout` };
  }
  if (count.excluded > 0) return passed(`nobody else was in it (${parts(count)})`);
  return passed("no device was left for this stage");
}

function afterCommits(count: StageCount): StageVerdict {
  const judged = count.committed + count.rolledBack + count.silent;
  const why = `${count.committed} of ${judged + count.waiting} devices committed`;
  const rest = parts({ ...count, committed: 0 });
  const whole = rest === "" ? why : `${why} (${rest})`;
  if (count.silent / judged > harmedFractionMax) {
    const kind = "inconclusive";
    return { kind, why: `${whole}; more than ${percent(harmedFractionMax)} fell silent` };
  }
  return passed(whole);
}

function passed(why: string): StageVerdict {
  return { kind: "passed", why };
}

const names: readonly (readonly [keyof StageCount, string])[] = [
  ["committed", "committed"],
  ["rolledBack", "rolled back"],
  ["silent", "silent"],
  ["waiting", "waiting for their window"],
  ["other", "failed"],
  ["open", "under way"],
  ["pending", "to be offered"],
  ["away", "away"],
  ["held", "left out"],
  ["taken", "taken by a newer rollout"],
  ["excluded", "taken back with their region and class"],
];

/** "3 committed, 1 away": what is not zero, in words. */
function parts(count: StageCount): string {
  return names
    .filter(([name]) => count[name] > 0)
    .map(([name, word]) => `${count[name]} ${word}`)
    .join(", ");
}

function percent(fraction: number): string {
  return `${Math.round(fraction * 100)} %`;
}
