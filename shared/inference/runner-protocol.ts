/** What a runner's parent and child say to each other over IPC ("advanced" serialization). */
import { z } from "zod";
import { dtypeSchema, modelInterfaceSchema } from "../artifact/bundle.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

export const samplesSchema = z.record(
  z.string(),
  z.object({ dtype: dtypeSchema, shape: z.array(z.int()), data: bytesSchema, count: z.int() }),
);
/** Raw samples of each input: `data` holds `count` samples of `shape` back to back. */
export type Samples = z.infer<typeof samplesSchema>;

export const runnerRequestSchema = z.discriminatedUnion("call", [
  z.object({
    call: z.literal("load"),
    id: z.int(),
    modelPath: z.string(),
    interface: modelInterfaceSchema,
    optimizedModelPath: z.string().optional(),
  }),
  z.object({ call: z.literal("infer"), id: z.int(), sample: z.record(z.string(), bytesSchema) }),
  z.object({ call: z.literal("set-samples"), id: z.int(), samples: samplesSchema }),
  z.object({ call: z.literal("evaluate"), id: z.int() }),
  z.object({
    call: z.literal("benchmark"),
    id: z.int(),
    runs: z.int().min(1),
    firstSample: z.int().min(0),
  }),
  z.object({ call: z.literal("memory"), id: z.int() }),
]);
export type RunnerRequest = z.infer<typeof runnerRequestSchema>;

export const runnerReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("answer"), id: z.int(), value: z.unknown() }),
  z.object({ kind: z.literal("error"), id: z.int(), code: z.string(), message: z.string() }),
  z.object({ kind: z.literal("progress"), id: z.int(), fraction: z.number() }),
]);
export type RunnerReply = z.infer<typeof runnerReplySchema>;
