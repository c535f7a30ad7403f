/**
 * The two artifacts that prove a bundle on a device: a shard of labelled samples in source dtype, and
 * the controller's own answers for one bundle on it. Both are CBOR and named by their hash.
 *
 * Version 1 is what agents before 0.2.0 read: labels and `top-1`. Version 2 is written for every other
 * metric. What both carry beside that (regions) older agents leave out.
 */
import { decode, encode } from "cborg";
import { z } from "zod";
import { dtypeSchema } from "../artifact/bundle.ts";
import { sha256Schema } from "../artifact/hash.ts";
import { FleetError } from "../errors.ts";
import { type GoldenSet, takeSamples } from "./golden-set.ts";
import type { Truth } from "./metrics/metric.ts";
import { type MetricName, metricNameSchema } from "./metrics/registry.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const samplesMax = 100_000;
const indices = z.array(z.int().min(0)).max(samplesMax);

const shardSchema = z.object({
  schema: z.enum(["fleetfit/golden-shard/1", "fleetfit/golden-shard/2"]),
  poolSha256: sha256Schema,
  shardIndex: z.int().min(0),
  metric: metricNameSchema,
  sampleIds: indices,
  inputs: z.record(
    z.string(),
    z.object({ dtype: dtypeSchema, shape: z.array(z.int()), data: bytesSchema, count: z.int() }),
  ),
  labels: indices,
  scale: z.number().positive().default(1),
  /** float32 numbers of each sample back to back, `size` per sample. */
  targets: z
    .object({ size: z.int().min(1), data: bytesSchema })
    .nullable()
    .default(null),
  /** Region of each sample, as an index into `names`. */
  regions: z
    .object({ names: z.array(z.string().max(64)).max(1024), index: indices })
    .nullable()
    .default(null),
});
export type GoldenShard = z.infer<typeof shardSchema>;

const referenceSchema = z.object({
  schema: z.enum(["fleetfit/reference/1", "fleetfit/reference/2"]),
  bundleSha256: sha256Schema,
  shardSha256: sha256Schema,
  top1: z.array(z.int()).max(samplesMax),
  /** Loss of each sample, for metrics of raw outputs; empty elsewhere. */
  losses: z.array(z.number()).max(samplesMax).default([]),
});
export type Reference = z.infer<typeof referenceSchema>;

/** Whether agents before 0.2.0 can be proved by this metric. */
export const isFirstFormat = (metric: MetricName): boolean =>
  metric === "top-1" || metric === "agreement";

export function encodeShard(set: GoldenSet, indices: Uint32Array, shardIndex: number): Uint8Array {
  const pick = <T>(values: ArrayLike<T>): T[] => Array.from(indices, (index) => values[index]!);
  const { regionSlice } = set;
  const first = isFirstFormat(set.metric);
  return encode({
    schema: first ? "fleetfit/golden-shard/1" : "fleetfit/golden-shard/2",
    poolSha256: set.poolSha256,
    shardIndex,
    metric: set.metric,
    sampleIds: [...indices],
    inputs: takeSamples(set, indices),
    labels: set.labels.length === 0 ? [] : pick(set.labels),
    ...(!first && { scale: set.scale, targets: encodeTargets(pick(set.targets)) }),
    ...(regionSlice !== undefined && {
      regions: { names: [...regionSlice.names], index: pick(regionSlice.index) },
    }),
  } satisfies z.input<typeof shardSchema>);
}

function encodeTargets(targets: readonly (Float32Array | undefined)[]): GoldenShard["targets"] {
  const [first] = targets;
  if (first === undefined) return null;
  const all = new Float32Array(first.length * targets.length);
  for (const [at, target] of targets.entries()) all.set(target!, at * first.length);
  return { size: first.length, data: new Uint8Array(all.buffer) };
}

/** Errors: `golden-invalid`. */
export function decodeShard(bytes: Uint8Array): GoldenShard {
  const shard = parse(shardSchema, bytes, "golden shard");
  const count = shard.sampleIds.length;
  const { labels, targets, regions } = shard;
  const fits =
    (labels.length === 0 || labels.length === count) &&
    (targets === null || targets.data.byteLength === count * targets.size * 4) &&
    (regions === null || regions.index.length === count);
  if (fits) return shard;
  throw new FleetError("golden-invalid", "golden shard: its parts do not count the same samples");
}

/** What is true of a shard's samples. */
export function truthOf({ labels, targets, scale }: GoldenShard): Truth {
  if (targets === null) return { labels, targets: [], scale };
  // A copy, since bytes of a message may lie at any place and floats may not.
  const all = new Float32Array(targets.data.slice().buffer);
  const count = all.length / targets.size;
  const rows = Array.from({ length: count }, (_, at) =>
    all.subarray(at * targets.size, (at + 1) * targets.size),
  );
  return { labels, targets: rows, scale };
}

export function encodeReference(
  reference: Omit<z.input<typeof referenceSchema>, "schema">,
): Uint8Array {
  const first = reference.losses === undefined;
  return encode({
    schema: first ? "fleetfit/reference/1" : "fleetfit/reference/2",
    ...reference,
  } satisfies z.input<typeof referenceSchema>);
}

/** Errors: `golden-invalid`. */
export function decodeReference(bytes: Uint8Array): Reference {
  return parse(referenceSchema, bytes, "reference outputs");
}

function parse<T extends z.ZodType>(schema: T, bytes: Uint8Array, what: string): z.output<T> {
  try {
    return schema.parse(decode(bytes, { strict: true, allowIndefinite: false }));
  } catch (cause) {
    throw new FleetError("golden-invalid", `${what}: not valid`, { cause });
  }
}
