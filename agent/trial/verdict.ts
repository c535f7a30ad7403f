/** What a trial found out: every gate that was run, and the one that decided. */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";

export interface TrialVerdict {
  readonly gates: readonly GateResult[];
  /** The gate that keeps the bundle out, or undefined when it may be committed. */
  readonly failed: GateResult | undefined;
}

export function verdictOf(
  gates: readonly GateResult[],
  onInconclusive: Manifest["gates"]["onInconclusive"],
): TrialVerdict {
  const failed = gates.find(({ verdict }) => verdict === "fail");
  const open = gates.find(({ verdict }) => verdict === "inconclusive");
  return { gates, failed: failed ?? (onInconclusive === "roll-back" ? open : undefined) };
}
