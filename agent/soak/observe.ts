/** The signals of one horizon, before against after, purely. */
import type { Signal, SignalName } from "../../shared/protocol/messages/observation.ts";
import { shareAbove } from "../../shared/telemetry/histogram.ts";
import type { ServingSpan } from "./serving-counters.ts";
import type { SoakCounts, SoakFacts } from "./soak-state.ts";

/** Signals that nothing is known of are left out. */
export function signalsOf(
  facts: SoakFacts,
  counts: SoakCounts,
  spans: { before: ServingSpan; after: ServingSpan },
): Partial<Record<SignalName, Signal>> {
  const { latencySloMs } = facts.spec;
  const both = (of: (span: ServingSpan) => Signal["before"]): Signal => ({
    before: of(spans.before),
    after: of(spans.after),
  });
  return {
    errors: both(({ ok, errors }) => share(errors, ok + errors)),
    ...(latencySloMs !== null && {
      "over-slo": both(({ ok, latency }) => ({ mean: shareAbove(latency, latencySloMs), n: ok })),
    }),
    ...(facts.golden !== null && { "golden-metric": facts.golden }),
    ...agreement(facts, counts),
  };
}

/** A model agrees with itself: before a release, and all along on a control. */
function agreement({ arm, previous }: SoakFacts, { compared, disagreed, calls }: SoakCounts) {
  if (arm === "control") {
    const itself = { mean: 1, n: calls };
    return { agreement: { before: itself, after: itself } };
  }
  if (previous === null || compared === 0) return {};
  return {
    agreement: { before: { mean: 1, n: compared }, after: share(compared - disagreed, compared) },
  };
}

const share = (part: number, whole: number) => ({ mean: whole === 0 ? 0 : part / whole, n: whole });
