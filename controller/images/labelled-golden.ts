/** What golden sets of labelled samples have in common: labels, regions, the manifest, a classifier's output. */
import type { OutputSpec } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import type { GoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import type { Model } from "../onnx/model.ts";

/** Longest array of samples, in bytes: what the controller takes as one file of a golden set. */
export const samplesBytesMax = 2 ** 30 - 4_096;

export interface LabelledSample {
  readonly label: number;
  /** Slice of the golden set; all samples have one, or none. */
  readonly region?: string;
}

/** Manifest and arrays of samples that are all in one file, which each of `tensors` is fed from. */
export function labelledGolden(
  name: string,
  samples: {
    readonly file: string;
    readonly content: Uint8Array;
    readonly tensors: readonly string[];
  },
  labelled: readonly LabelledSample[],
): { readonly manifest: GoldenManifest; readonly files: ReadonlyMap<string, Uint8Array> } {
  const int32 = (values: readonly number[]) => {
    const data = new Uint8Array(Int32Array.from(values).buffer);
    return encodeNpy({ dtype: "int32", shape: [values.length], data });
  };
  const regions = [...new Set(labelled.flatMap(({ region }) => region ?? []))].sort();
  const files = new Map([
    [samples.file, samples.content],
    ["labels.npy", int32(labelled.map(({ label }) => label))],
  ]);
  if (regions.length > 0) {
    files.set("regions.npy", int32(labelled.map(({ region }) => regions.indexOf(region ?? ""))));
  }
  return {
    files,
    manifest: {
      format: "fleetfit-golden/1",
      name,
      inputs: Object.fromEntries(samples.tensors.map((tensor) => [tensor, { file: samples.file }])),
      labels: { file: "labels.npy" },
      metric: { name: "top-1" },
      ...(regions.length > 0 && {
        slices: { region: { file: "regions.npy", names: regions } },
      }),
    },
  };
}

/** The model's first output as scores of classes. Errors: `golden-mismatch` for more classes than scores. */
export function classifierOutput({ graph }: Model, classes: readonly string[]): OutputSpec {
  const [tensor = ""] = graph.outputNames;
  const scores = graph.producerOf(tensor)?.opType === "Softmax" ? "none" : "softmax";
  const declared = graph.declaredShape(tensor)?.at(-1);
  const count = typeof declared === "number" && declared > 0 ? declared : classes.length;
  if (classes.length > count) {
    throw new FleetError(
      "golden-mismatch",
      `there are ${classes.length} classes, the model tells ${count} apart: name its own with --classes`,
    );
  }
  const labels = Array.from({ length: count }, (_, at) => classes[at] ?? `class ${at}`);
  return { kind: "classification", tensor, scores, labels };
}
