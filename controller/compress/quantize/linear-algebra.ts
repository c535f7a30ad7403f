/**
 * The little dense algebra that rounding needs, on row-major Float64Array.
 *
 * There is one factorisation and one product here, in one file, because a general library would be slower
 * at them: ml-matrix 6.15 reads and writes element by element through methods and has no Cholesky
 * from the last row upwards. Products of large matrices run in the runtime (`matrix-products.ts`).
 *
 * Invariant: sums run in a fixed order, so the same input gives the same bits on every machine.
 */

export interface Damped {
  /** float64 [size, size], new. */
  readonly matrix: Float64Array;
  /** What was added to each entry of the diagonal; above 0 for share above 0. */
  readonly added: number;
}

/** gram + share · mean(diagonal of gram) · I; the unit matrix where gram is zero. */
export function damped(gram: Float64Array, size: number, share: number): Damped {
  let trace = 0;
  for (let at = 0; at < size; at++) trace += gram[at * size + at]!;
  const matrix = Float64Array.from(gram);
  const added = trace > 0 ? (share * trace) / size : 1;
  for (let at = 0; at < size; at++) matrix[at * size + at]! += added;
  return { matrix, added };
}

/** matrix [size, size] with rows and columns in another order: result[i][j] = matrix[order[i]][order[j]]. */
export function permuted(matrix: Float64Array, order: Uint32Array): Float64Array {
  const size = order.length;
  const result = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    const from = order[row]! * size;
    for (let column = 0; column < size; column++) {
      result[row * size + column] = matrix[from + order[column]!]!;
    }
  }
  return result;
}

/**
 * Upper triangular R with H = R · R^T, in place: the Cholesky factorisation from the last row
 * upwards. H: float64 [size, size], symmetric; only its upper triangle is read, and what is below the
 * diagonal is left as it is. `pivotMin` above 0 bounds the squares on R's diagonal from below: for
 * H = G + pivotMin · I with G positive semidefinite only rounding errors make them smaller.
 */
export function upperCholesky(matrix: Float64Array, size: number, pivotMin: number): Float64Array {
  for (let pivot = size - 1; pivot >= 0; pivot--) {
    const pivotRow = pivot * size;
    const square =
      matrix[pivotRow + pivot]! - tailProduct(matrix, pivotRow, pivotRow, pivot + 1, size);
    const root = Math.sqrt(Math.max(square, pivotMin));
    matrix[pivotRow + pivot] = root;
    for (let row = 0; row < pivot; row++) {
      const at = row * size + pivot;
      const rest = matrix[at]! - tailProduct(matrix, row * size, pivotRow, pivot + 1, size);
      matrix[at] = rest / root;
    }
  }
  return matrix;
}

/** result = matrix · vector, matrix float64 [size, size]. */
export function product(
  matrix: Float64Array,
  vector: Float64Array,
  result: Float64Array = new Float64Array(vector.length),
): Float64Array {
  const size = vector.length;
  for (let row = 0; row < size; row++) {
    const start = row * size;
    let sum = 0;
    for (let column = 0; column < size; column++) sum += matrix[start + column]! * vector[column]!;
    result[row] = sum;
  }
  return result;
}

/** Sum over columns from `start` of the products of two rows; four sums, since one would wait for itself. */
function tailProduct(
  matrix: Float64Array,
  left: number,
  right: number,
  start: number,
  size: number,
): number {
  let [first, second, third, fourth] = [0, 0, 0, 0];
  let column = start;
  for (; column + 3 < size; column += 4) {
    first += matrix[left + column]! * matrix[right + column]!;
    second += matrix[left + column + 1]! * matrix[right + column + 1]!;
    third += matrix[left + column + 2]! * matrix[right + column + 2]!;
    fourth += matrix[left + column + 3]! * matrix[right + column + 3]!;
  }
  for (; column < size; column++) first += matrix[left + column]! * matrix[right + column]!;
  return first + second + (third + fourth);
}
