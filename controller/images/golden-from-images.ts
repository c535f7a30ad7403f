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
import { classifierOutput, labelledGolden, samplesBytesMax } from "./labelled-golden.ts";
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
    interface: {
      inputs: [picture.input],
      output: classifierOutput(model, labelled.classes),
    },
    skipped,
  };
}

function arraysOf(
  kept: readonly LabelledFile[],
  samples: Uint8Array,
  { height, width, channels, input }: Picture,
  name: string,
): Pick<ImageGolden, "manifest" | "files"> {
  const shape = [kept.length, height, width, channels];
  const images = encodeNpy({ dtype: "uint8", shape, data: samples });
  return labelledGolden(
    name,
    { file: "images.npy", content: images, tensors: [input.tensor] },
    kept,
  );
}
