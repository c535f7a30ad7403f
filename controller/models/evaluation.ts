/** What was measured about a variant at the controller; stored as JSON beside it. */
import { z } from "zod";

const scoreSchema = z.object({ value: z.number(), low: z.number(), high: z.number(), n: z.int() });

export const evaluationSchema = z.object({
  metric: z.enum(["top-1", "agreement"]),
  /** On the part that variants are chosen on, and on the sealed part that floors are judged on. */
  selection: scoreSchema,
  sealed: scoreSchema,
  /** Against the source, on the selection part: samples that got worse and better. */
  worse: z.int(),
  better: z.int(),
  /** Of the controller's runner, Node and onnxruntime included. */
  ramPeakBytes: z.int(),
  loadMs: z.number(),
});
export type Evaluation = z.infer<typeof evaluationSchema>;
