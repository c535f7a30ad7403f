/**
 * Whether a stage may go on, from what its attempts came to; pure.
 *
 * A healthy release rolls back on one device with probability at most alphaDevice, so k rollbacks in
 * n decided attempts stop the rollout when P(Bin(n, alphaDevice) ≥ k) ≤ alphaRollout.
 */
import { binomialUpperTail } from "../../shared/statistics/binomial.ts";

export interface StageCount {
  readonly open: number;
  readonly committed: number;
  /** Rolled back by the device's own trial. */
  readonly rolledBack: number;
  /** Failed, refused or superseded: says nothing about the model. */
  readonly other: number;
}

export interface StageRules {
  readonly alphaDevice: number;
  readonly alphaRollout: number;
  /** After this long, devices that did not decide no longer hold the stage. */
  readonly deadlineMs: number;
}

export type StageVerdict =
  | { readonly kind: "waiting" }
  | { readonly kind: "passed"; readonly why: string }
  | { readonly kind: "failed"; readonly why: string };

export function stageVerdict(count: StageCount, ageMs: number, rules: StageRules): StageVerdict {
  const judged = count.committed + count.rolledBack;
  if (count.rolledBack > 0) {
    const p = binomialUpperTail(count.rolledBack, judged, rules.alphaDevice);
    if (p <= rules.alphaRollout) {
      return {
        kind: "failed",
        why: `${count.rolledBack} of ${judged} devices rolled back by themselves; a healthy release does so with probability ${p.toExponential(1)} (limit ${rules.alphaRollout})`,
      };
    }
  }
  const late = ageMs >= rules.deadlineMs;
  if (count.open > 0 && !late) return { kind: "waiting" };
  if (count.committed === 0 && count.open + count.other > 0 && !late) {
    return {
      kind: "failed",
      why: `no device of the stage could be judged (${count.other} failed)`,
    };
  }
  if (count.committed === 0 && late) {
    return { kind: "failed", why: `no device of the stage committed before its deadline` };
  }
  return { kind: "passed", why: `${count.committed} of ${judged + count.open} devices committed` };
}
