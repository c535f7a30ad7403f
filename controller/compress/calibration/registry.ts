/** The calibration methods by name, with their options, as a recipe writes them. */
import { z } from "zod";
import type { ExtremesTable, HistogramTable } from "../../../shared/calibration/statistics.ts";
import type { Range } from "../quantize/scale.ts";
import type { CalibrationMethod } from "./method.ts";
import { entropy } from "./methods/entropy.ts";
import { minMax } from "./methods/min-max.ts";
import { movingAverage } from "./methods/moving-average.ts";
import { mse } from "./methods/mse.ts";
import { percentile } from "./methods/percentile.ts";

const methods = [minMax, movingAverage, percentile, entropy, mse] as const;

type Schema = (typeof methods)[number]["options"];
const schemas = methods.map(({ options }): Schema => options) as [Schema, ...Schema[]];

/** One method with its options. */
const methodOptions = z.discriminatedUnion("method", schemas);
export type MethodOptions = z.output<typeof methodOptions>;

const candidatesMax = 12;

/** Several methods, of which the one that does best on held-out samples is kept. */
const autoOptions = z.strictObject({
  method: z.literal("auto"),
  candidates: z
    .array(methodOptions)
    .min(2)
    .max(candidatesMax)
    .prefault([
      { method: "min-max" },
      { method: "percentile", percent: 99.999 },
      { method: "percentile", percent: 99.99 },
      { method: "entropy" },
      { method: "mse" },
    ]),
});

export const calibrationOptions = z.discriminatedUnion("method", [methodOptions, autoOptions]);
export type CalibrationOptions = z.output<typeof calibrationOptions>;

/** The methods to try: one, or those of `auto`. */
export function calibrationCandidates(options: CalibrationOptions): readonly MethodOptions[] {
  return options.method === "auto" ? options.candidates : [options];
}

export function needsHistogram(options: MethodOptions): boolean {
  return methodOf(options).needsHistogram;
}

export function methodLabel(options: MethodOptions): string {
  return methodOf(options).label(options);
}

/** The range of each tensor, by the method that the options name. */
export function rangesBy(
  options: MethodOptions,
  extremes: ExtremesTable,
  histograms: HistogramTable,
): Map<string, Range> {
  const { range } = methodOf(options);
  return new Map(
    [...extremes].map(([tensor, each]) => {
      const statistics = { extremes: each, histogram: histograms.get(tensor)! };
      return [tensor, range(statistics, options)];
    }),
  );
}

/** Each method takes the options that name it. */
function methodOf({ method }: MethodOptions): CalibrationMethod<z.ZodType, true> {
  const found = methods.find(({ options }) => options.shape.method.value === method);
  return found as unknown as CalibrationMethod<z.ZodType, true>;
}
