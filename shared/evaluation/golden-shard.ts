/**
 * The two artifacts that prove a bundle on a device: a shard of labelled samples in source dtype, and
 * the controller's own answers for one bundle on it. Both are CBOR and named by their hash.
 */
import { decode, encode } from "cborg";
import { z } from "zod";
import { dtypeSchema } from "../artifact/bundle.ts";
import { sha256Schema } from "../artifact/hash.ts";
import { FleetError } from "../errors.ts";
import { type GoldenSet, takeSamples } from "./golden-set.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const samplesMax = 100_000;

const shardSchema = z.object({
  schema: z.literal("fleetfit/golden-shard/1"),
  poolSha256: sha256Schema,
  shardIndex: z.int().min(0),
  metric: z.enum(["top-1", "agreement"]),
  sampleIds: z.array(z.int().min(0)).max(samplesMax),
  inputs: z.record(
    z.string(),
    z.object({ dtype: dtypeSchema, shape: z.array(z.int()), data: bytesSchema, count: z.int() }),
  ),
  labels: z.array(z.int().min(0)).max(samplesMax),
});
export type GoldenShard = z.infer<typeof shardSchema>;

const referenceSchema = z.object({
  schema: z.literal("fleetfit/reference/1"),
  bundleSha256: sha256Schema,
  shardSha256: sha256Schema,
  top1: z.array(z.int()).max(samplesMax),
});
export type Reference = z.infer<typeof referenceSchema>;

export function encodeShard(set: GoldenSet, indices: Uint32Array, shardIndex: number): Uint8Array {
  return encode({
    schema: "fleetfit/golden-shard/1",
    poolSha256: set.poolSha256,
    shardIndex,
    metric: set.metric,
    sampleIds: [...indices],
    inputs: takeSamples(set, indices),
    labels: set.labels.length === 0 ? [] : [...indices].map((index) => set.labels[index]!),
  } satisfies GoldenShard);
}

/** Errors: `golden-invalid`. */
export function decodeShard(bytes: Uint8Array): GoldenShard {
  return parse(shardSchema, bytes, "golden shard");
}

export function encodeReference(reference: Omit<Reference, "schema">): Uint8Array {
  return encode({ schema: "fleetfit/reference/1", ...reference } satisfies Reference);
}

/** Errors: `golden-invalid`. */
export function decodeReference(bytes: Uint8Array): Reference {
  return parse(referenceSchema, bytes, "reference outputs");
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return schema.parse(decode(bytes, { strict: true, allowIndefinite: false }));
  } catch (cause) {
    throw new FleetError("golden-invalid", `${what}: not valid`, { cause });
  }
}
