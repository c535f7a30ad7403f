/**
 * When a variant's accuracy rules it out for a class, whoever found the figures: below the class's floor
 * beyond doubt, or worse than its source by the paired test.
 *
 * Invariant: what was foretold for a processor only rules out, and only as long as no device with such a
 * processor measured the variant.
 */
import type { Foretold } from "../../shared/api/evaluation.ts";
import { type Processor, processorNames } from "../../shared/devices/processor.ts";
import { mcnemarExact } from "../../shared/statistics/binomial.ts";
import type { DeviceClass } from "../fleet/classes.ts";

/** A variant whose paired test against the source is below this lost accuracy. */
const worseAlpha = 0.001;

export interface AccuracyFigures {
  /** Null without an evaluation. */
  readonly metric: { readonly value: number; readonly high: number } | null;
  /** Samples that got worse and better than the source on the same samples. */
  readonly worse: number;
  readonly better: number;
}

/** What an emulation found out for a processor of the class that nothing measured the variant on. */
export interface ForetoldFigures extends AccuracyFigures {
  readonly processor: Processor;
  readonly n: number;
}

export const percent = (fraction: number): string => `${(fraction * 100).toFixed(2)} %`;

/** Why these figures rule a variant out; undefined when they do not. */
export function accuracyFault(
  { metricFloor }: DeviceClass["budget"],
  { metric, worse, better }: AccuracyFigures,
): string | undefined {
  if (metric !== null && metric.high < metricFloor) {
    return `its accuracy of ${percent(metric.value)} is below the class's floor of ${percent(metricFloor)}`;
  }
  const p = mcnemarExact(worse, better);
  if (p <= worseAlpha) {
    return `it is worse than its source: ${worse} samples got worse and ${better} better (p = ${p.toExponential(1)})`;
  }
  return undefined;
}

/** The first fault that was foretold. */
export function foretoldFault(
  budget: DeviceClass["budget"],
  foretold: readonly ForetoldFigures[],
): string | undefined {
  for (const { processor, n, ...figures } of foretold) {
    const fault = accuracyFault(budget, figures);
    if (fault === undefined) continue;
    return `on ${processorNames[processor]} ${fault}; foretold by emulation on ${n} samples, as no device of the class with such a processor measured it`;
  }
  return undefined;
}

/** What was foretold for processors that the class has, without those that the variant was measured on. */
export function foretoldFor(
  foretold: readonly Foretold[],
  {
    processors,
    measuredOn,
  }: { readonly processors: readonly Processor[]; readonly measuredOn: readonly Processor[] },
): ForetoldFigures[] {
  return foretold.flatMap((one) => {
    const { processor } = one;
    if (!processors.includes(processor) || measuredOn.includes(processor)) return [];
    if (one.outcome !== "foretold") return [];
    const { score, worse, better } = one;
    return [{ processor, n: score.n, metric: score, worse, better }];
  });
}
