/** The calibration methods by name, with their options, as a recipe writes them. */
import { z } from "zod";
import { minMaxObserver } from "./min-max.ts";
import type { CalibrationMethod } from "./observer.ts";
import { percentileObserver } from "./percentile.ts";

export const calibrationOptions = z.discriminatedUnion("method", [
  z.strictObject({ method: z.literal("min-max") }),
  z.strictObject({
    method: z.literal("percentile"),
    /** Share of the values that stay inside the range, in percent. */
    percent: z.number().gt(50).max(100).default(99.99),
    /** Bins of the histogram over the full range. */
    bins: z.int().min(128).max(8192).default(2048),
  }),
]);

export type CalibrationOptions = z.output<typeof calibrationOptions>;

/** The method that the options name. */
export function calibrationMethod(options: CalibrationOptions): CalibrationMethod {
  if (options.method === "min-max") return { first: minMaxObserver };
  return { first: minMaxObserver, second: (range) => percentileObserver(range, options) };
}
