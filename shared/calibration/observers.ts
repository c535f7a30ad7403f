/**
 * The observers that turn the values of one tensor into statistics, sample by sample. Devices and the
 * controller run the same ones.
 *
 * Invariant: memory does not grow with the number of samples.
 */
import { type Extremes, type Histogram, histogramBins, type ValueRange } from "./statistics.ts";

/** Weight of a new sample in the moving average (averaging_constant of onnxruntime and PyTorch). */
const averagingWeight = 0.01;

/** Collects the extremes of samples. */
export class ExtremesObserver {
  #samples = 0;
  readonly #full = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
  readonly #moving = { min: 0, max: 0 };
  readonly #sum = { min: 0, max: 0 };

  /** The least and largest value of one sample; both are finite. */
  observe(min: number, max: number): void {
    const weight = this.#samples === 0 ? 1 : averagingWeight;
    this.#samples++;
    if (min < this.#full.min) this.#full.min = min;
    if (max > this.#full.max) this.#full.max = max;
    this.#moving.min += weight * (min - this.#moving.min);
    this.#moving.max += weight * (max - this.#moving.max);
    this.#sum.min += min;
    this.#sum.max += max;
  }

  /** Undefined as long as nothing was observed. */
  extremes(): Extremes | undefined {
    const samples = this.#samples;
    if (samples === 0) return undefined;
    return {
      samples,
      full: { ...this.#full },
      moving: { ...this.#moving },
      mean: { min: this.#sum.min / samples, max: this.#sum.max / samples },
    };
  }
}

/** Counts values on the grid that the extremes of all data gave. */
export class HistogramObserver {
  readonly #grid: ValueRange;
  readonly #counts = new Float64Array(histogramBins);

  constructor(grid: ValueRange) {
    this.#grid = grid;
  }

  /** Values of one sample; all are finite. */
  observe(values: Float32Array): void {
    const counts = this.#counts;
    const { min, max } = this.#grid;
    const last = histogramBins - 1;
    const binsPerUnit = max > min ? histogramBins / (max - min) : 0;
    for (let index = 0; index < values.length; index++) {
      const at = (values[index]! - min) * binsPerUnit;
      counts[at >= last ? last : at > 0 ? at | 0 : 0]!++;
    }
  }

  histogram(): Histogram {
    return { ...this.#grid, counts: this.#counts };
  }
}
