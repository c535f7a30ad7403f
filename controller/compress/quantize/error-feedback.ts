/**
 * Rounds the weights of one layer so that what one weight loses is made good by those after it, as
 * seen by the layer's output over calibration data.
 *
 * For a row w float [length] with codes q, scale s, zero point z, deviation d = w - s · (q - z), and H
 * the damped mean of x · x^T over the layer's inputs, it makes d^T · H · d small:
 * 1. H = R · R^T with R upper triangular, so d^T · H · d = |R^T · d|^2, whose entry i depends on d_0 … d_i.
 * 2. In this order q_i is the code nearest to w_i + (sum over j < i of R_ji · d_j) / R_ii: entry i becomes
 *    as near to zero as its code allows. This is GPTQ without the inverse that it is written with.
 * 3. Sweeps over the weights: each moves to the code that is best with all others fixed, until none
 *    moves (coordinate descent). A row never ends worse than it began.
 *
 * Blocks of a row may have scales and zero points of their own, as weight-only formats store them.
 *
 * Source: Frantar et al. 2022, "GPTQ", algorithm 1 (damping, order); Chen et al. 2025, "The Geometry of
 * LLM Quantization: GPTQ as Babai's Nearest Plane Algorithm" (step 2); Behdin et al. 2023, "QuantEase",
 * equation 8 (step 3).
 */
import { type Damped, damped, permuted, product, upperCholesky } from "./linear-algebra.ts";
import { clamp, type Range, roundHalfEven } from "./scale.ts";
import type { WeightRows } from "./weight-rows.ts";

export interface FeedbackOptions {
  /** Share of the mean of H's diagonal that is added to it; GPTQ takes 0.01. */
  readonly damping: number;
  /** `activation` rounds the inputs with the most energy first, when most is left to make good for them. */
  readonly order: "stored" | "activation";
  /** Limit of the sweeps of step 3; 0 leaves them out. */
  readonly sweepsMax: number;
}

export const feedbackDefaults: FeedbackOptions = {
  damping: 0.01,
  order: "activation",
  sweepsMax: 20,
};

export interface CodeGrid {
  readonly rows: WeightRows;
  /** float32: one for all, one per row, or one per block of each row [channels, blocks]. */
  readonly scales: Float32Array;
  /** Like `scales`; absent means that codes are centred. */
  readonly zeroPoints?: ArrayLike<number>;
  /** Weights of a row that share a scale; absent means whole rows. */
  readonly blockLength?: number;
  /** Codes to use, both ends included. */
  readonly codes: Range;
}

export interface FeedbackRequest extends CodeGrid {
  /** Mean of x · x^T, float64 [length, length], one per group of rows. */
  readonly gram: readonly Float64Array[];
}

/** Codes [channels, length] in the order of the rows. */
export function roundWithFeedback(
  request: FeedbackRequest,
  options: FeedbackOptions = feedbackDefaults,
): Int16Array {
  const { rows, gram } = request;
  const codes = new Int16Array(rows.values.length);
  const groupRows = rows.channels / gram.length;
  gram.forEach((matrix, group) => {
    const energy = damped(matrix, rows.length, options.damping);
    const first = group * groupRows;
    feedGroup(request, { energy, first, groupRows, codes }, options.order);
    for (let row = first; row < first + groupRows; row++) {
      settle({ grid: request, energy: energy.matrix, row, codes, sweepsMax: options.sweepsMax });
    }
  });
  return codes;
}

/** The code nearest to a value in the scale of weight `at` of a row. */
export function nearestCode(grid: CodeGrid, row: number, at: number, value: number): number {
  const cell = cellOf(grid, row, at);
  const zeroPoint = grid.zeroPoints?.[cell] ?? 0;
  // float32 steps, as the runtime's quantizer takes them: a value on a grid point stays there.
  return clamp(
    roundHalfEven(Math.fround(Math.fround(value) / grid.scales[cell]!)) + zeroPoint,
    grid.codes,
  );
}

interface Group {
  readonly energy: Damped;
  readonly first: number;
  readonly groupRows: number;
  readonly codes: Int16Array;
}

/** Steps 1 and 2 for the rows of one group. */
function feedGroup(grid: CodeGrid, group: Group, visit: FeedbackOptions["order"]): void {
  const { values, length } = grid.rows;
  const { energy, first, groupRows, codes } = group;
  const order = visitOrder(energy.matrix, length, visit);
  const factor = upperCholesky(permuted(energy.matrix, order), length, energy.added);
  // What the weights rounded so far ask of each later one, times its diagonal entry.
  const asked = new Float64Array(groupRows * length);
  for (let step = 0; step < length; step++) {
    const at = order[step]!;
    const factorRow = step * length;
    const pivot = factor[factorRow + step]!;
    for (let row = 0; row < groupRows; row++) {
      const channel = first + row;
      const index = channel * length + at;
      const base = row * length;
      const wanted = values[index]! + asked[base + step]! / pivot;
      codes[index] = nearestCode(grid, channel, at, wanted);
      const deviation = values[index]! - decoded(grid, channel, at, codes[index]!);
      for (let later = step + 1; later < length; later++) {
        asked[base + later]! += factor[factorRow + later]! * deviation;
      }
    }
  }
}

function visitOrder(
  energy: Float64Array,
  length: number,
  visit: FeedbackOptions["order"],
): Uint32Array {
  const order = Uint32Array.from({ length }, (_, at) => at);
  if (visit === "stored") return order;
  const energyOf = (at: number): number => energy[at * length + at]!;
  return order.sort((one, other) => energyOf(other) - energyOf(one) || one - other);
}

/**
 * Step 3 for one row, in place: sweeps until no code moves. energy: the damped H of its group, float64
 * [length, length].
 */
export function settle(options: {
  readonly grid: CodeGrid;
  readonly energy: Float64Array;
  readonly row: number;
  readonly codes: Int16Array;
  readonly sweepsMax: number;
}): void {
  const { grid, energy, row, codes, sweepsMax } = options;
  if (sweepsMax === 0) return;
  const { length } = grid.rows;
  const pull = product(energy, deviations(grid, row, codes));
  for (let sweep = 0; sweep < sweepsMax; sweep++) {
    let moved = false;
    for (let at = 0; at < length; at++) {
      const index = row * length + at;
      const step = grid.scales[cellOf(grid, row, at)]!;
      const best = roundHalfEven(pull[at]! / (step * energy[at * length + at]!));
      const code = clamp(codes[index]! + best, grid.codes);
      const shift = step * (code - codes[index]!);
      if (shift === 0 || !lowersLoss(shift, pull[at]!, energy[at * length + at]!)) continue;
      codes[index] = code;
      moved = true;
      const start = at * length;
      for (let other = 0; other < length; other++) pull[other]! -= shift * energy[start + other]!;
    }
    if (!moved) return;
  }
}

/** By more than rounding errors: a move that is taken back in the next sweep would never end. */
function lowersLoss(shift: number, pull: number, diagonal: number): boolean {
  const change = shift * (shift * diagonal - 2 * pull);
  return change < -1e-9 * shift * shift * diagonal;
}

/** d^T · H · d of one row. energy: float64 [length, length]. */
export function rowLoss(
  grid: CodeGrid,
  energy: Float64Array,
  row: number,
  codes: Int16Array,
): number {
  const deviation = deviations(grid, row, codes);
  const pull = product(energy, deviation);
  return deviation.reduce((sum, value, at) => sum + value * pull[at]!, 0);
}

function deviations(grid: CodeGrid, row: number, codes: Int16Array): Float64Array {
  const { values, length } = grid.rows;
  return Float64Array.from({ length }, (_, at) => {
    const index = row * length + at;
    return values[index]! - decoded(grid, row, at, codes[index]!);
  });
}

function decoded(grid: CodeGrid, row: number, at: number, code: number): number {
  const cell = cellOf(grid, row, at);
  return (code - (grid.zeroPoints?.[cell] ?? 0)) * grid.scales[cell]!;
}

/** Where the scale of weight `at` of a row stands. */
function cellOf({ rows, scales, blockLength }: CodeGrid, row: number, at: number): number {
  if (scales.length === 1) return 0;
  if (blockLength === undefined) return row;
  return row * Math.ceil(rows.length / blockLength) + Math.floor(at / blockLength);
}
