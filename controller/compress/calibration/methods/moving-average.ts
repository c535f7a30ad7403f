/**
 * The extremes of each sample, averaged: a sample that is unlike the others counts little.
 *
 * `exponential` is m += 0.01 · (new − m), as PyTorch's MovingAverageMinMaxObserver does. `arithmetic` is
 * the plain mean, which is what onnxruntime computes when asked for a moving average
 * (1.30, calibrate.py, MinMaxCalibrater.compute_data).
 */
import { z } from "zod";
import { defineMethod } from "../method.ts";

export const movingAverage = defineMethod({
  options: z.strictObject({
    method: z.literal("moving-average"),
    average: z.enum(["exponential", "arithmetic"]).default("exponential"),
  }),
  needsHistogram: false,
  label: ({ average }) => `${average} moving-average`,
  range: ({ extremes }, { average }) =>
    average === "exponential" ? extremes.moving : extremes.mean,
});
