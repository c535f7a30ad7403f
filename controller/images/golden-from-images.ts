/**
 * A golden set out of labelled pictures: samples as uint8 [count, H, W, C], labels, regions where there are
 * some, the manifest, and the interface that says how a device prepares such a sample.
 *
 * Invariants: one picture is decoded at a time; one that cannot be decoded ends the work, or is left out and
 * told when that was asked for.
 */
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import type { GoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import type { Model } from "../onnx/model.ts";
import type { LabelledFile, LabelledFiles } from "./labelled-files.ts";
import type { Picture } from "./preprocessing.ts";

/** uint8 [H, W, C]. Rejects with an error that tells why for what is no picture. */
export type Decode = (path: string, picture: Picture) => Promise<Uint8Array>;

export interface ImageGolden {
  readonly manifest: GoldenManifest;
  /** By name, the manifest not included. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly interface: ModelInterface;
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

/** Longest array of samples, in bytes: what the controller takes as one file of a golden set. */
const samplesBytesMax = 2 ** 30 - 4_096;

/** Errors: `golden-invalid` for too many pixels or a picture that cannot be decoded, `golden-mismatch`. */
export async function goldenFromImages(
  model: Model,
  source: { readonly labelled: LabelledFiles; readonly picture: Picture; readonly name: string },
  decode: Decode,
  options: {
    readonly skipBroken: boolean;
    readonly onProgress: (fraction: number, path: string) => void;
  },
): Promise<ImageGolden> {
  const { labelled, picture, name } = source;
  const sampleBytes = picture.height * picture.width * picture.channels;
  if (sampleBytes * labelled.files.length > samplesBytesMax) {
    const most = Math.floor(samplesBytesMax / sampleBytes);
    throw new FleetError(
      "golden-invalid",
      `${labelled.files.length} pictures of ${sampleBytes} bytes are too much: take at most ${most}`,
    );
  }
  const samples = new Uint8Array(sampleBytes * labelled.files.length);
  const kept: LabelledFile[] = [];
  const skipped: { path: string; why: string }[] = [];
  for (const [at, file] of labelled.files.entries()) {
    options.onProgress(at / labelled.files.length, file.path);
    try {
      samples.set(await decode(file.path, picture), kept.length * sampleBytes);
      kept.push(file);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      if (!options.skipBroken) {
        const message = `${file.path} cannot be decoded (${why}): mend or remove it, or add --skip-broken`;
        throw new FleetError("golden-invalid", message, { cause });
      }
      skipped.push({ path: file.path, why });
    }
  }
  if (kept.length === 0) throw new FleetError("golden-invalid", "no picture could be decoded");
  return {
    ...arraysOf(kept, samples.subarray(0, kept.length * sampleBytes), picture, name),
    interface: interfaceOf(model, picture, labelled.classes),
    skipped,
  };
}

function arraysOf(
  kept: readonly LabelledFile[],
  samples: Uint8Array,
  { height, width, channels, input }: Picture,
  name: string,
): Pick<ImageGolden, "manifest" | "files"> {
  const count = kept.length;
  const int32 = (values: readonly number[]) => {
    const data = Int32Array.from(values);
    return encodeNpy({ dtype: "int32", shape: [count], data: new Uint8Array(data.buffer) });
  };
  const shape = [count, height, width, channels];
  const regions = [...new Set(kept.flatMap(({ region }) => region ?? []))].sort();
  const files = new Map([
    ["images.npy", encodeNpy({ dtype: "uint8", shape, data: samples })],
    ["labels.npy", int32(kept.map(({ label }) => label))],
  ]);
  if (regions.length > 0) {
    files.set("regions.npy", int32(kept.map(({ region }) => regions.indexOf(region ?? ""))));
  }
  return {
    files,
    manifest: {
      format: "fleetfit-golden/1",
      name,
      inputs: { [input.tensor]: { file: "images.npy" } },
      labels: { file: "labels.npy" },
      metric: { name: "top-1" },
      ...(regions.length > 0 && {
        slices: { region: { file: "regions.npy", names: regions } },
      }),
    },
  };
}

function interfaceOf(
  { graph }: Model,
  picture: Picture,
  classes: readonly string[],
): ModelInterface {
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
  return { inputs: [picture.input], output: { kind: "classification", tensor, scores, labels } };
}
