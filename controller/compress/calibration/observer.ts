/**
 * Watches the values of one tensor over all calibration batches and says which range to quantize.
 *
 * Invariant: memory does not grow with the number of samples.
 */
import type { Range } from "../quantize/scale.ts";

export interface Observer {
  /** One batch; all values are finite. */
  readonly observe: (values: Float32Array) => void;
  /** The range to quantize. */
  readonly range: () => Range;
}

/**
 * Observes in one or two passes over the data: the second one knows the full range and can therefore
 * use a histogram of fixed size.
 */
export interface CalibrationMethod {
  readonly first: () => Observer;
  readonly second?: (range: Range) => Observer;
}
