/**
 * What operators cost on a processor, measured there: the difference between models of many and of few
 * equal operators in a row is theirs alone.
 *
 * Invariant: a table says which operator, type and size was timed, so that whoever reads it can
 * interpolate.
 */
import { z } from "zod";

/** Operators that are timed; `quantize` is one conversion of a float to a code. */
const costOperators = ["conv-3x3", "conv-1x1", "depthwise-3x3", "gemm", "add", "quantize"] as const;

export type CostOperator = (typeof costOperators)[number];

/** Above every size that is timed, and every time that is let to pass. */
const sizeMax = 1_000_000;
const timeNsMax = 1e12;

/** Which operator, of what type and size. */
export const costSubjectSchema = z.object({
  operator: z.enum(costOperators),
  type: z.enum(["float32", "int8"]),
  /** In and out; of a gemm K and N. */
  channels: z.int().min(1).max(sizeMax),
  /** Positions that each channel has; 1 of a gemm. */
  pixels: z.int().min(1).max(sizeMax),
});

const costEntrySchema = costSubjectSchema.extend({
  /** Nanoseconds of one operator. */
  timeNs: z.number().min(0).max(timeNsMax),
});
export type CostEntry = z.infer<typeof costEntrySchema>;

export const costTableSchema = z
  .object({ entries: z.array(costEntrySchema).max(200) })
  .meta({ id: "CostTable" });
export type CostTable = z.infer<typeof costTableSchema>;

export const costTimesSchema = z.object({
  table: costTableSchema,
  /** False when the machine worked for others meanwhile, so that too many times are too long. */
  isSteady: z.boolean(),
});
export type CostTimes = z.infer<typeof costTimesSchema>;
