/**
 * A bundle is what a device runs: model file, pre- and post-processing, labels and thresholds under
 * one hash. The hash is that of the canonical JSON of the descriptor, and the descriptor names each
 * file by hash and length, so one signature over the bundle hash covers every byte.
 */
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { canonicalJson } from "./canonical-json.ts";
import { sha256Hex, sha256Schema } from "./hash.ts";
import { modelNameSchema, nameSchema } from "./names.ts";

/** Longest descriptor that is read, in bytes; 1,000 labels take about 30 KB. */
export const bundleDescriptorBytesMax = 1_000_000;

/** Element types of samples and tensors, in ONNX's names. */
export const dtypeSchema = z.enum([
  "float32",
  "float64",
  "float16",
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int32",
  "uint32",
  "int64",
  "bool",
]);
export type Dtype = z.infer<typeof dtypeSchema>;

/** Name of the descriptor on a device, and of the file that onnxruntime loads. */
export const bundleFileName = "bundle.json";
export const modelFileName = "model.onnx";

/** Name of a file that steps of the interface read; it lies beside model and descriptor. */
const assetNameSchema = nameSchema.refine(
  (name) => name !== bundleFileName && name !== modelFileName,
  `not ${bundleFileName} or ${modelFileName}, which a bundle has already`,
);

/** A fixed shape without the batch axis. */
const sampleShapeSchema = z.array(z.int().min(1).max(1_000_000)).max(8);

/** One step from the raw sample to the tensor that the model takes; applied in order. */
export const inputStepSchema = z.discriminatedUnion("op", [
  /** Converts to float32; any step but `reshape` and `transpose` needs it first. */
  z.object({ op: z.literal("cast"), to: dtypeSchema }),
  /** y = x · scale + offset, one value for all or one per index of `axis` (batch axis not counted). */
  z.object({
    op: z.literal("affine"),
    axis: z.int().min(0).max(7).default(0),
    scale: z.array(z.number()).min(1).max(4096),
    offset: z.array(z.number()).min(1).max(4096),
  }),
  /** New order of the sample's axes. */
  z.object({ op: z.literal("transpose"), order: z.array(z.int().min(0).max(7)).max(8) }),
  z.object({ op: z.literal("reshape"), shape: sampleShapeSchema }),
  /**
   * UTF-8 text, padded with zeros to the sample's length, to int64 [length] by a tokenizer.json of the
   * bundle; the first step. Needs agents from 0.3.0 on.
   */
  z.object({
    op: z.literal("tokenize"),
    asset: assetNameSchema.default("tokenizer.json"),
    /** Tokens; more are cut off, fewer are padded, both as the file says. */
    length: z.int().min(1).max(8192),
    /** Ids; or 1 for each token and 0 for each pad; or zeros, the type of the only sequence. */
    yields: z.enum(["ids", "attention-mask", "token-types"]).default("ids"),
  }),
]);
export type InputStep = z.infer<typeof inputStepSchema>;

export const inputSpecSchema = z.object({
  /** Name of the model's input. */
  tensor: z.string().min(1).max(256),
  /** What a golden set stores and a client sends: one sample, without batch axis. */
  sample: z.object({ dtype: dtypeSchema, shape: sampleShapeSchema }),
  steps: z
    .array(inputStepSchema)
    .max(16)
    .refine(
      (steps) => steps.slice(1).every(({ op }) => op !== "tokenize"),
      "tokenize is the first step or none",
    ),
});
export type InputSpec = z.infer<typeof inputSpecSchema>;

/** The step that makes tokens of an input's text; undefined for other inputs. */
export function tokenizeStep({
  steps,
}: Pick<InputSpec, "steps">): Extract<InputStep, { op: "tokenize" }> | undefined {
  const [first] = steps;
  return first?.op === "tokenize" ? first : undefined;
}

export const outputSpecSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("classification"),
    tensor: z.string().min(1).max(256),
    /** `softmax` turns logits into probabilities; `none` when the model did so. */
    scores: z.enum(["softmax", "none"]),
    labels: z.array(z.string().max(256)).min(1).max(100_000),
  }),
  /** Raw tensors, answered as they are. */
  z.object({
    kind: z.literal("tensors"),
    tensors: z.array(z.string().min(1).max(256)).min(1).max(32),
  }),
]);
export type OutputSpec = z.infer<typeof outputSpecSchema>;

/** What an operator states about a model next to its ONNX file. */
export const modelInterfaceSchema = z.object({
  inputs: z.array(inputSpecSchema).min(1).max(16),
  output: outputSpecSchema,
});
export type ModelInterface = z.infer<typeof modelInterfaceSchema>;

/** Names of the files that an interface reads, without repeats. */
export function assetNames({ inputs }: Pick<ModelInterface, "inputs">): string[] {
  return [...new Set(inputs.flatMap((input) => tokenizeStep(input)?.asset ?? []))];
}

export const bundleFileSchema = z.object({
  role: z.enum(["model", "asset"]),
  name: nameSchema,
  sha256: sha256Schema,
  bytes: z.int().min(1),
});
export type BundleFile = z.infer<typeof bundleFileSchema>;

export const bundleSchema = z
  .object({
    schema: z.literal("fleetfit/bundle/1"),
    model: modelNameSchema,
    version: nameSchema,
    files: z.array(bundleFileSchema).min(1).max(32),
    interface: modelInterfaceSchema,
    /** Lowest score at which the caller should trust an answer; informative. */
    thresholds: z.record(z.string(), z.number()).default({}),
    provenance: z.object({
      sourceSha256: sha256Schema,
      recipe: nameSchema,
      recipeSha256: sha256Schema,
      seed: z.int(),
      runtime: z.string().max(64),
      cpuFlags: z.array(z.string().max(32)).max(64),
    }),
  })
  .superRefine(({ files, interface: spec }, context) => {
    const names = files.map(({ name }) => name);
    if (new Set(names).size < names.length || names.includes(bundleFileName)) {
      context.addIssue({ code: "custom", message: "two files would have the same name" });
    }
    for (const name of assetNames(spec)) {
      if (files.some((file) => file.role === "asset" && file.name === name)) continue;
      context.addIssue({
        code: "custom",
        message: `${name}, which the interface reads, is no asset`,
      });
    }
  });
export type Bundle = z.infer<typeof bundleSchema>;

/** Canonical bytes of the descriptor; their SHA-256 is the bundle's name. */
export function encodeBundle(bundle: Bundle): { bytes: Uint8Array; sha256: string } {
  const bytes = canonicalJson(bundleSchema.parse(bundle));
  return { bytes, sha256: sha256Hex(bytes) };
}

/** Errors: `artifact-mismatch` when the bytes are not those of `sha256`, `manifest-invalid`. */
export function decodeBundle(bytes: Uint8Array, sha256: string): Bundle {
  if (sha256Hex(bytes) !== sha256) {
    throw new FleetError("artifact-mismatch", `bundle descriptor does not match ${sha256}`);
  }
  try {
    return bundleSchema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new FleetError("manifest-invalid", "bundle descriptor is not valid", { cause });
  }
}

/** The one file that onnxruntime loads. */
export function modelFile(bundle: Bundle): BundleFile {
  const file = bundle.files.find(({ role }) => role === "model");
  if (file === undefined)
    throw new FleetError("manifest-invalid", "the bundle names no model file");
  return file;
}

/** The files that steps of the interface read. */
export function assetFiles(bundle: Bundle): BundleFile[] {
  return bundle.files.filter(({ role }) => role === "asset");
}
