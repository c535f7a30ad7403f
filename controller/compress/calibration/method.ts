/**
 * What a calibration method is: a rule from the statistics of a tensor to the range that is quantized.
 * Methods only choose; statistics are collected once for all of them. One file and one line in
 * `registry.ts` adds a method.
 */
import type { z } from "zod";
import type { Extremes, Histogram } from "../../../shared/calibration/statistics.ts";
import type { Range } from "../quantize/scale.ts";

export interface TensorStatistics {
  readonly extremes: Extremes;
  /** Over the full range; only for methods that say they need one. */
  readonly histogram: Histogram;
}

export type Statistics<Needs extends boolean> = Needs extends true
  ? TensorStatistics
  : Pick<TensorStatistics, "extremes">;

export interface CalibrationMethod<S extends z.ZodType, Needs extends boolean> {
  /** Options as a recipe writes them; `method` names the method. */
  readonly options: S;
  /** True when it needs a histogram, which costs a second pass over the data. */
  readonly needsHistogram: Needs;
  /** How people tell it from the same method with other options. */
  readonly label: (options: z.output<S>) => string;
  /** The range to quantize, within the full one; the full one when there is nothing to gain. */
  readonly range: (statistics: Statistics<Needs>, options: z.output<S>) => Range;
}

export function defineMethod<S extends z.ZodType, Needs extends boolean>(
  method: CalibrationMethod<S, Needs>,
): CalibrationMethod<S, Needs> {
  return method;
}
