/**
 * Which of several candidates answers held-out samples best.
 *
 * 1. Where samples have labels, candidates whose mean loss is above the lowest one by more than the
 *    noise of the paired difference are out.
 * 2. Of the others the one whose outputs are nearest to the float model's wins: with a few hundred
 *    samples most differences in loss are chance, and outputs tell candidates apart much finer.
 *
 * The error of single tensors is not asked: a range that is best for each tensor by itself can be the
 * worst for the outputs (ResNet-8, per-tensor MSE: 24.8 dB at the logits against 37.5 dB for min-max).
 */

export interface CandidateScore {
  readonly label: string;
  /** Loss per held-out sample, 0 at best; absent when samples have no labels. */
  readonly losses?: Float64Array;
  /** Signal-to-noise ratio of the outputs per sample against the float model's, in decibels. */
  readonly decibels: Float64Array;
}

/** Standard errors of the mean paired difference beyond which a loss counts as higher. */
const noiseErrors = 2;

/** The place of the best one; the first of equals. `scores` is not empty. */
export function bestCandidate(scores: readonly CandidateScore[]): number {
  const lowest = scores.toSorted((a, b) => meanLoss(a) - meanLoss(b))[0]!;
  const inNoise = scores.filter((score) => !isWorse(score, lowest));
  const nearest = inNoise.toSorted((a, b) => mean(b.decibels) - mean(a.decibels))[0]!;
  return scores.indexOf(nearest);
}

/** One line for people. */
export function scoreWords(score: CandidateScore): string {
  const loss = score.losses === undefined ? "" : `, mean loss ${meanLoss(score).toPrecision(3)}`;
  return `${score.label}: ${mean(score.decibels).toFixed(1)} dB${loss}`;
}

function isWorse({ losses }: CandidateScore, lowest: CandidateScore): boolean {
  if (losses === undefined || lowest.losses === undefined) return false;
  const differences = losses.map((loss, at) => loss - lowest.losses![at]!);
  const middle = mean(differences);
  const squares = differences.reduce((sum, each) => sum + (each - middle) ** 2, 0);
  const error = Math.sqrt(squares / Math.max(1, losses.length - 1) / losses.length);
  return middle > noiseErrors * error;
}

function meanLoss({ losses }: CandidateScore): number {
  return losses === undefined ? 0 : mean(losses);
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
