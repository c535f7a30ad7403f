/** What a trial found out: every gate that was run, and the one that decided. */
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";

export interface TrialVerdict {
  readonly gates: readonly GateResult[];
  /** The failed gate, or undefined when the bundle may be committed. */
  readonly failed: GateResult | undefined;
}

export function verdictOf(gates: readonly GateResult[]): TrialVerdict {
  return { gates, failed: gates.find(({ verdict }) => verdict === "fail") };
}
