/**
 * Learns for each weight of a layer whether it is rounded up or down, so that the layer's output over
 * calibration data changes least.
 *
 * With codes floor(w / s) + h, h in [0, 1], deviation d and the damped mean G of x · x^T:
 * 1. h = clip(1.2 · sigmoid(v) - 0.1, 0, 1), begun where it gives back w.
 * 2. Loss of a row: share · d^T · G · d + regularization · sum(1 - |2h - 1|^beta). `share` makes the first
 *    term as large as the row is long when weights are rounded to nearest, so that the regularization
 *    means the same in every layer. (It is 1 here, which makes both terms count alike; with the 0.01 of
 *    the paper's unscaled loss most weights stay undecided after 1,000 steps.)
 * 3. Adam on v, with the gradient 2 · s · share · G · d through G itself: no sample is run. The second term
 *    comes in after a fifth of the steps; beta falls from 20 to 2 along a half cosine.
 * 4. It ends early when every h is 0 or 1. Then h >= 0.5 is up, sweeps settle what is left
 *    (`error-feedback.ts`, step 3), and a row that is worse than rounded to nearest is rounded to nearest.
 *
 * Nothing is drawn at random.
 *
 * Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", equations
 * 21 to 25; constants as in AIMET (adaround_optimizer, adaround_loss).
 */
import { type CodeGrid, nearestCode, rowLoss, settle } from "./error-feedback.ts";
import { damped } from "./linear-algebra.ts";
import type { MatrixProducts } from "./matrix-products.ts";
import { clamp } from "./scale.ts";

/** Of the stretched sigmoid: it reaches 0 and 1 at finite v (equation 23). */
const stretch = { factor: 1.2, shift: -0.1 };

const beta = { start: 20, end: 2 };

/** Share of the steps in which h may go wherever the output wants it. */
const warmUp = 0.2;

/** Adam, Kingma and Ba 2015; the rate is AIMET's. */
const adam = { rate: 0.01, first: 0.9, second: 0.999, epsilon: 1e-8 };

/** Nearer to 0 or 1 than this counts as decided. */
const decidedWithin = 0.01;

/** Every so many steps it is looked whether all is decided. */
const checkEvery = 50;

export interface AdaroundOptions {
  readonly iterations: number;
  readonly regularization: number;
  /** As in `FeedbackOptions`. */
  readonly damping: number;
  readonly sweepsMax: number;
}

export interface AdaroundRequest extends CodeGrid {
  /** Mean of x · x^T, float64 [length, length], one per group of rows. */
  readonly gram: readonly Float64Array[];
  readonly products: MatrixProducts;
  readonly signal?: AbortSignal | undefined;
}

/** Codes [channels, length] in the order of the rows. */
export async function learnRounding(
  request: AdaroundRequest,
  options: AdaroundOptions,
): Promise<Int16Array> {
  const { rows, gram } = request;
  const nearest = nearestCodes(request);
  const energies = gram.map((matrix) => damped(matrix, rows.length, options.damping).matrix);
  const groupRows = rows.channels / gram.length;
  const energyOf = (row: number): Float64Array => energies[Math.floor(row / groupRows)]!;
  const nearestLosses = Float64Array.from({ length: rows.channels }, (_, row) =>
    rowLoss(request, energyOf(row), row, nearest),
  );
  const learner = new Learner(request, nearestLosses, options);
  const codes = await learn(learner, request, energies, options);
  for (let row = 0; row < rows.channels; row++) {
    const energy = energyOf(row);
    settle({ grid: request, energy, row, codes, sweepsMax: options.sweepsMax });
    if (rowLoss(request, energy, row, codes) <= nearestLosses[row]!) continue;
    const [start, end] = [row * rows.length, (row + 1) * rows.length];
    codes.set(nearest.subarray(start, end), start);
  }
  return codes;
}

/** Codes [channels, length], each weight to the nearest. */
export function nearestCodes(grid: CodeGrid): Int16Array {
  const { values, length } = grid.rows;
  return Int16Array.from(values, (value, index) =>
    nearestCode(grid, Math.floor(index / length), index % length, value),
  );
}

async function learn(
  learner: Learner,
  { rows, gram, products, signal }: AdaroundRequest,
  energies: readonly Float64Array[],
  { iterations }: AdaroundOptions,
): Promise<Int16Array> {
  const { length } = rows;
  const stacked = new Float32Array(gram.length * length * length);
  energies.forEach((energy, group) => {
    stacked.set(energy, group * length * length);
  });
  const right = { data: stacked, shape: [gram.length, length, length] as const };
  const shape = [gram.length, rows.channels / gram.length, length] as const;
  for (let iteration = 0; iteration < iterations; iteration++) {
    signal?.throwIfAborted();
    const data = learner.deviations();
    const pull = await products.timesTransposed({ data, shape }, right);
    learner.step(pull, iteration);
    if (iteration % checkEvery === 0 && learner.isDecided()) break;
  }
  return learner.codes();
}

/** The learned numbers of one layer, one of each per weight. */
class Learner {
  readonly #grid: CodeGrid;
  readonly #options: AdaroundOptions;
  /** Weight in units of its scale, and the code below it. */
  readonly #floors: Float32Array;
  readonly #v: Float64Array;
  readonly #mean: Float64Array;
  readonly #square: Float64Array;
  readonly #deviations: Float32Array;
  /** Of each row, step 2. */
  readonly #shares: Float64Array;

  constructor(grid: CodeGrid, nearestLosses: Float64Array, options: AdaroundOptions) {
    const { values, length } = grid.rows;
    this.#grid = grid;
    this.#options = options;
    this.#floors = new Float32Array(values.length);
    this.#v = new Float64Array(values.length);
    this.#mean = new Float64Array(values.length);
    this.#square = new Float64Array(values.length);
    this.#deviations = new Float32Array(values.length);
    this.#shares = nearestLosses.map((loss) => (loss > 0 ? length / loss : 0));
    for (let index = 0; index < values.length; index++) {
      const units = values[index]! / this.#scaleOf(index);
      const floor = clamp(Math.floor(units), { ...grid.codes, max: grid.codes.max - 1 });
      this.#floors[index] = floor;
      this.#v[index] = startOf(Math.min(Math.max(units - floor, 0), 1));
    }
  }

  /** w - s · (floor + h), float32 [channels, length]. */
  deviations(): Float32Array {
    const { values } = this.#grid.rows;
    for (let index = 0; index < values.length; index++) {
      const code = this.#floors[index]! + softened(this.#v[index]!);
      this.#deviations[index] = values[index]! - this.#scaleOf(index) * code;
    }
    return this.#deviations;
  }

  /** One step of Adam. pull: d · G, float32 [channels, length]. */
  step(pull: Float32Array, iteration: number): void {
    const { iterations, regularization } = this.#options;
    const { length } = this.#grid.rows;
    const exponent = betaAt(iteration / iterations);
    const weight = iteration < warmUp * iterations ? 0 : regularization;
    const firstBias = 1 - adam.first ** (iteration + 1);
    const secondBias = 1 - adam.second ** (iteration + 1);
    for (let index = 0; index < pull.length; index++) {
      const slope = slopeAt(this.#v[index]!);
      let gradient = 0;
      if (slope > 0) {
        const share = this.#shares[Math.floor(index / length)]!;
        const fit = -2 * this.#scaleOf(index) * share * pull[index]!;
        const side = 2 * softened(this.#v[index]!) - 1;
        const push = weight === 0 ? 0 : -2 * weight * exponent * Math.abs(side) ** (exponent - 1);
        gradient = (fit + push * Math.sign(side)) * slope;
      }
      const mean = adam.first * this.#mean[index]! + (1 - adam.first) * gradient;
      const square = adam.second * this.#square[index]! + (1 - adam.second) * gradient ** 2;
      this.#mean[index] = mean;
      this.#square[index] = square;
      const root = Math.sqrt(square / secondBias) + adam.epsilon;
      this.#v[index]! -= (adam.rate * mean) / firstBias / root;
    }
  }

  isDecided(): boolean {
    return this.#v.every((value) => {
      const h = softened(value);
      return h <= decidedWithin || h >= 1 - decidedWithin;
    });
  }

  codes(): Int16Array {
    return Int16Array.from(
      this.#floors,
      (floor, index) => floor + (softened(this.#v[index]!) >= 0.5 ? 1 : 0),
    );
  }

  #scaleOf(index: number): number {
    const { rows, scales } = this.#grid;
    return scales[scales.length === 1 ? 0 : Math.floor(index / rows.length)]!;
  }
}

/** h of v, step 1. */
function softened(v: number): number {
  const stretched = stretch.factor / (1 + Math.exp(-v)) + stretch.shift;
  return Math.min(Math.max(stretched, 0), 1);
}

/** dh / dv; 0 where h is clipped. */
function slopeAt(v: number): number {
  const sigmoid = 1 / (1 + Math.exp(-v));
  const stretched = stretch.factor * sigmoid + stretch.shift;
  return stretched <= 0 || stretched >= 1 ? 0 : stretch.factor * sigmoid * (1 - sigmoid);
}

/** The v with this h. */
function startOf(h: number): number {
  return -Math.log(stretch.factor / (h - stretch.shift) - 1);
}

function betaAt(progress: number): number {
  const fallen = Math.max(0, (progress - warmUp) / (1 - warmUp));
  return beta.end + ((beta.start - beta.end) * (1 + Math.cos(fallen * Math.PI))) / 2;
}
