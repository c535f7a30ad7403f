/**
 * A golden set: labelled samples that a model is judged on, as a JSON manifest beside .npy or .npz
 * files. docs/golden-sets.md describes it for operators.
 *
 * Invariants: the first axis of each array counts samples and is equal in all; files are named
 * without folders; the pool's hash covers everything that a verdict could depend on.
 */
import { z } from "zod";
import type { Dtype } from "../artifact/bundle.ts";
import { canonicalJson } from "../artifact/canonical-json.ts";
import { sha256Hex, sha256Stream } from "../artifact/hash.ts";
import { FleetError } from "../errors.ts";
import { elementBytes, elementCount, typedFromBytes } from "../inference/processing/typed-data.ts";
import { type ByteSource, bytesInMemory, readAll } from "../ports/byte-source.ts";
import { type MetricName, metricNameSchema, metricOf } from "./metrics/registry.ts";
import { type NpySource, openNpy } from "./npy.ts";
import { readNpzEntry } from "./npz.ts";

/** Longest array that is read, in bytes, unpacked. */
const arrayBytesMax = 2 ** 31;
/** Longest manifest, in bytes. */
export const goldenManifestBytesMax = 1_000_000;

/** `images.npy`, or `all.npz#images` for one array of an archive. */
const arrayRefSchema = z.object({
  file: z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\.npy|\.npz#[A-Za-z0-9_]+)$/),
});

/** `agreement` compares the outputs with those of the source model; the others need the truth. */
const metricSchema = z.object({
  name: metricNameSchema,
  /** `rmse` alone: the error that counts as worthless, in the target's unit. */
  scale: z.number().positive().optional(),
});

export const goldenManifestSchema = z
  .object({
    format: z.literal("fleetfit-golden/1"),
    name: z.string().min(1).max(128),
    inputs: z.record(z.string().min(1).max(256), arrayRefSchema),
    labels: arrayRefSchema.optional(),
    targets: arrayRefSchema.optional(),
    metric: metricSchema,
    slices: z
      .object({ region: arrayRefSchema.extend({ names: z.array(z.string().max(64)).max(1024) }) })
      .optional(),
  })
  .strict()
  .superRefine((manifest, context) => {
    const { metric } = manifest;
    const truth = metricOf(metric.name)?.truth;
    if (truth !== undefined && manifest[truth] === undefined) {
      context.addIssue({ code: "custom", message: `${metric.name} needs ${truth}` });
    }
    if ((metric.name === "rmse") !== (metric.scale !== undefined)) {
      context.addIssue({ code: "custom", message: "rmse, and no other metric, needs a scale" });
    }
  });
export type GoldenManifest = z.infer<typeof goldenManifestSchema>;

export interface GoldenInput {
  readonly dtype: Dtype;
  /** Shape of one sample. */
  readonly shape: readonly number[];
  /** All samples back to back; samples of an .npy file stay in it until they are read. */
  readonly data: ByteSource;
}

export interface GoldenSet {
  readonly name: string;
  readonly metric: MetricName;
  readonly count: number;
  readonly inputs: Readonly<Record<string, GoldenInput>>;
  /** Class index per sample; empty for metrics without labels. */
  readonly labels: Int32Array;
  /** Flattened targets per sample; empty for metrics without targets. */
  readonly targets: readonly Float32Array[];
  /** The error that counts as worthless (`rmse`); 1 for other metrics. */
  readonly scale: number;
  readonly regionSlice:
    | { readonly names: readonly string[]; readonly index: Int32Array }
    | undefined;
  readonly poolSha256: string;
}

/** Files that a manifest names, without repeats. Errors: `golden-invalid`. */
export function goldenFileNames(manifest: GoldenManifest): string[] {
  const { inputs, labels, targets, slices } = manifest;
  const refs = [...Object.values(inputs), labels, targets, slices?.region];
  return [...new Set(refs.flatMap((ref) => (ref === undefined ? [] : [ref.file.split("#")[0]!])))];
}

/** Errors: `golden-invalid`. */
export function parseGoldenManifest(bytes: Uint8Array): GoldenManifest {
  if (bytes.byteLength > goldenManifestBytesMax) throw invalid("the manifest is too long");
  try {
    return goldenManifestSchema.parse(
      JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)),
    );
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : "not JSON";
    throw new FleetError("golden-invalid", `golden set manifest: ${why}`, { cause });
  }
}

/**
 * The set from its manifest and each file that it names, in memory or to be read from.
 * Errors: `golden-invalid`.
 */
export function buildGoldenSet(
  manifest: GoldenManifest,
  files: ReadonlyMap<string, Uint8Array | ByteSource>,
): GoldenSet {
  const array = (ref: { file: string }) => readArray(ref.file, files);
  const entries = Object.entries(manifest.inputs).map(([name, ref]) => [name, array(ref)] as const);
  const labels = manifest.labels === undefined ? undefined : array(manifest.labels);
  const region = manifest.slices?.region;
  const count = entries[0]?.[1].shape[0] ?? 0;
  if (count === 0) throw invalid("it holds no sample");
  const inputs = Object.fromEntries(
    entries.map(([name, input]) => [name, inputOf(name, input, count)]),
  );
  const regionSlice = region && {
    names: region.names,
    index: indices("regions", array(region), count),
  };
  if (regionSlice?.index.some((index) => index >= regionSlice.names.length)) {
    throw invalid("a region index has no name");
  }
  const targets = manifest.targets === undefined ? undefined : array(manifest.targets);
  const labelIndex = labels === undefined ? new Int32Array() : indices("labels", labels, count);
  return {
    name: manifest.name,
    metric: manifest.metric.name,
    count,
    inputs,
    labels: labelIndex,
    targets: targets === undefined ? [] : targetsOf(targets, count),
    scale: manifest.metric.scale ?? 1,
    regionSlice,
    poolSha256: poolHash(manifest, {
      inputs,
      labels: labelIndex,
      targets: targets && readAll(targets.data),
      regions: regionSlice?.index,
    }),
  };
}

function readArray(
  reference: string,
  files: ReadonlyMap<string, Uint8Array | ByteSource>,
): NpySource {
  const [file, member] = reference.split("#") as [string, string | undefined];
  const found = files.get(file);
  if (found === undefined) throw invalid(`${file} is missing`);
  const source = found instanceof Uint8Array ? bytesInMemory(found) : found;
  if (member === undefined) return openNpy(source, reference);
  // An array of an archive is packed, so there is no reading it in parts.
  const unpacked = readNpzEntry(readAll(source), member, arrayBytesMax);
  return openNpy(bytesInMemory(unpacked), reference);
}

function inputOf(name: string, array: NpySource, count: number): GoldenInput {
  if (array.shape[0] !== count)
    throw invalid(`${name} has ${array.shape[0]} samples, others ${count}`);
  return { dtype: array.dtype, shape: array.shape.slice(1), data: array.data };
}

/** One row of numbers per sample, whatever shape a sample's target has. */
function targetsOf(array: NpySource, count: number): Float32Array[] {
  if (array.shape[0] !== count)
    throw invalid(`targets has ${array.shape[0]} samples, not ${count}`);
  if (array.dtype === "float16") throw invalid("targets must not be float16");
  const size = elementCount(array.shape.slice(1));
  if (size === 0) throw invalid("a target holds no number");
  const values = Float32Array.from(
    typedFromBytes(array.dtype, readAll(array.data)) as ArrayLike<number>,
    Number,
  );
  if (values.some((value) => !Number.isFinite(value))) throw invalid("a target is not a number");
  return Array.from({ length: count }, (_, at) => values.subarray(at * size, (at + 1) * size));
}

/** A one-dimensional integer array as class or region numbers ≥ 0. */
function indices(name: string, array: NpySource, count: number): Int32Array {
  if (array.shape.length !== 1 || array.shape[0] !== count) {
    throw invalid(`${name} must be one number per sample (${count}), not ${array.shape.join("×")}`);
  }
  if (array.dtype.startsWith("float") || array.dtype === "bool")
    throw invalid(`${name} must be integers`);
  const values = Int32Array.from(
    typedFromBytes(array.dtype, readAll(array.data)) as ArrayLike<number>,
    Number,
  );
  if (values.some((value) => value < 0)) throw invalid(`${name} holds a negative number`);
  return values;
}

function poolHash(
  manifest: GoldenManifest,
  {
    inputs,
    labels,
    targets,
    regions,
  }: {
    inputs: Readonly<Record<string, GoldenInput>>;
    labels: Int32Array;
    targets: Uint8Array | undefined;
    regions: Int32Array | undefined;
  },
): string {
  const bytesOf = (values: Int32Array) =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return sha256Hex(
    canonicalJson({
      format: manifest.format,
      metric: manifest.metric,
      inputs: Object.fromEntries(
        Object.entries(inputs).map(([name, { dtype, shape, data }]) => [
          name,
          { dtype, shape: [...shape], sha256: hashOf(data) },
        ]),
      ),
      labels: sha256Hex(bytesOf(labels)),
      ...(targets !== undefined && { targets: sha256Hex(targets) }),
      regions: regions === undefined ? null : sha256Hex(bytesOf(regions)),
    }),
  );
}

/** Bytes that are hashed at once. */
const hashBytesMax = 2 ** 20;

function hashOf(source: ByteSource): string {
  const hash = sha256Stream();
  const scratch = new Uint8Array(Math.min(source.byteLength, hashBytesMax));
  for (let from = 0; from < source.byteLength; from += hashBytesMax) {
    hash.update(source.read(from, Math.min(source.byteLength, from + hashBytesMax), scratch));
  }
  return hash.hex();
}

/** The raw bytes of one sample of an input. */
export function goldenSample(input: GoldenInput, index: number): Uint8Array {
  const bytes = goldenSampleBytes(input);
  return input.data.read(index * bytes, (index + 1) * bytes);
}

/** Bytes of one sample of an input. */
export function goldenSampleBytes(input: GoldenInput): number {
  return elementCount(input.shape) * elementBytes[input.dtype];
}

/** The raw samples at `indices`, packed back to back, per input. */
export function takeSamples(
  set: Pick<GoldenSet, "inputs">,
  indices: ArrayLike<number>,
): Record<string, { dtype: Dtype; shape: number[]; data: Uint8Array; count: number }> {
  return Object.fromEntries(
    Object.entries(set.inputs).map(([name, input]) => {
      const bytes = goldenSampleBytes(input);
      const data = new Uint8Array(bytes * indices.length);
      for (let at = 0; at < indices.length; at++) {
        data.set(goldenSample(input, indices[at]!), at * bytes);
      }
      return [name, { dtype: input.dtype, shape: [...input.shape], data, count: indices.length }];
    }),
  );
}

function invalid(reason: string): FleetError {
  return new FleetError("golden-invalid", `golden set: ${reason}`);
}
