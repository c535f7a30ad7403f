/**
 * Confidence, margin and entropy of two models on the same inputs. A shift says that something changed
 * and nothing of whether it got worse, so it warns and decides nothing.
 */
import {
  type BothHistograms,
  type SoakHistograms,
  soakBins,
} from "../../shared/protocol/messages/soak-report.ts";

const none = (): BothHistograms => ({
  fresh: new Array<number>(soakBins).fill(0),
  running: new Array<number>(soakBins).fill(0),
});

export const emptyHistograms = (): SoakHistograms => ({
  confidence: none(),
  margin: none(),
  entropy: none(),
});

/** Counts one input, from the scores of both models. */
export function withScores(
  histograms: SoakHistograms,
  fresh: ArrayLike<number>,
  running: ArrayLike<number>,
): SoakHistograms {
  const [ofFresh, ofRunning] = [certainty(fresh), certainty(running)];
  const both = (name: keyof SoakHistograms): BothHistograms => ({
    fresh: withBin(histograms[name].fresh, ofFresh[name]),
    running: withBin(histograms[name].running, ofRunning[name]),
  });
  return { confidence: both("confidence"), margin: both("margin"), entropy: both("entropy") };
}

/** How sure scores are, each in [0, 1]. Scores that are no probabilities are clipped into it. */
export function certainty(scores: ArrayLike<number>): Record<keyof SoakHistograms, number> {
  const sorted = Array.from(scores, clip).sort((a, b) => b - a);
  const [first = 0, second = 0] = sorted;
  const sum = sorted.reduce((total, score) => total + score, 0);
  const entropy = sorted.reduce((total, score) => {
    const share = sum > 0 ? score / sum : 0;
    return share > 0 ? total - share * Math.log(share) : total;
  }, 0);
  const most = Math.log(Math.max(2, sorted.length));
  return { confidence: first, margin: first - second, entropy: clip(entropy / most) };
}

const clip = (value: number) => (Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0);

function withBin(bins: readonly number[], value: number): number[] {
  const at = Math.min(soakBins - 1, Math.floor(value * soakBins));
  return bins.map((count, index) => (index === at ? count + 1 : count));
}

/** Inputs below which a shift is not spoken of. */
const inputsMin = 200;
/** Largest gap between the two cumulated shares that is usual (Kolmogorov distance). */
const gapMax = 0.15;

/** One sentence for each histogram that moved. */
export function shiftWarnings(histograms: SoakHistograms): string[] {
  return (Object.keys(histograms) as (keyof SoakHistograms)[]).flatMap((name) => {
    const { fresh, running } = histograms[name];
    const n = fresh.reduce((sum, count) => sum + count, 0);
    const gap = largestGap(fresh, running);
    if (n < inputsMin || gap <= gapMax) return [];
    return [
      `the ${name} of the new model is distributed otherwise than that of the one before on the same ${n} inputs (distance ${gap.toFixed(2)})`,
    ];
  });
}

function largestGap(a: readonly number[], b: readonly number[]): number {
  const total = (bins: readonly number[]) =>
    Math.max(
      1,
      bins.reduce((sum, count) => sum + count, 0),
    );
  const [totalA, totalB] = [total(a), total(b)];
  let gap = 0;
  let difference = 0;
  for (let bin = 0; bin < a.length; bin++) {
    difference += a[bin]! / totalA - b[bin]! / totalB;
    gap = Math.max(gap, Math.abs(difference));
  }
  return gap;
}
