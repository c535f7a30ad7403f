/** Every input step by name. A new one is one file, one line here and one in the bundle's schema. */
import {
  assetNames,
  type InputSpec,
  type InputStep,
  type ModelInterface,
} from "../../artifact/bundle.ts";
import { FleetError } from "../../errors.ts";
import type { ByteSource } from "../../ports/byte-source.ts";
import { affine } from "./affine.ts";
import { cast } from "./cast.ts";
import { reshape } from "./reshape.ts";
import type { Sample } from "./sample.ts";
import { tokenize } from "./tokenize.ts";
import { openTokenizer, type Tokenizer } from "./tokenizer.ts";
import { parseTokenizer } from "./tokenizer-file.ts";
import { transpose } from "./transpose.ts";
import { elementBytes, elementCount, release, typedFromBytes } from "./typed-data.ts";

/** What steps work with beside the sample: the opened files of the bundle, by name. */
type Tokenizers = ReadonlyMap<string, Tokenizer>;

type Steps = {
  [Op in InputStep["op"]]: (
    sample: Sample,
    step: Extract<InputStep, { op: Op }>,
    tokenizers: Tokenizers,
  ) => Sample;
};

const steps: Steps = {
  cast,
  affine,
  transpose,
  reshape,
  tokenize: (sample, step, tokenizers) => tokenize(sample, step, tokenizers.get(step.asset)!),
};

/** Raw bytes of one sample of an input to the tensor that the model takes, without batch axis. */
export type PrepareSample = (spec: InputSpec, bytes: Uint8Array) => Sample;

/** Files that an interface names, by name; not yet read. */
export type Assets = Readonly<Record<string, ByteSource>>;

/**
 * Opens what the steps of an interface need and answers how its samples are prepared, which throws
 * `golden-mismatch` when the length or a step does not fit.
 * Errors: `artifact-missing`, `too-large`, `tokenizer-invalid`.
 */
export function samplePreparer(
  spec: Pick<ModelInterface, "inputs">,
  assets: Assets,
): PrepareSample {
  const tokenizers = assetNames(spec).map((name): [string, Tokenizer] => [
    name,
    openTokenizer(name, parseTokenizer(name, assetNamed(assets, name))),
  ]);
  return preparerWith(new Map(tokenizers));
}

/** Errors: `artifact-missing`. */
export function assetNamed(assets: Assets, name: string): ByteSource {
  const source = Object.hasOwn(assets, name) ? assets[name] : undefined;
  if (source !== undefined) return source;
  throw new FleetError("artifact-missing", `${name}, which the interface reads, is not here`);
}

/** Bytes of one raw sample of an input. */
export function sampleBytes(spec: InputSpec): number {
  return elementCount(spec.sample.shape) * elementBytes[spec.sample.dtype];
}

/** As `samplePreparer`, with tokenizers that are open: one for each asset of the steps. */
export function preparerWith(tokenizers: Tokenizers): PrepareSample {
  return (spec, bytes) => {
    if (bytes.byteLength !== sampleBytes(spec)) {
      throw new FleetError(
        "golden-mismatch",
        `input ${spec.tensor} takes ${sampleBytes(spec)} bytes (${spec.sample.dtype} ${spec.sample.shape}), got ${bytes.byteLength}`,
      );
    }
    const data = typedFromBytes(spec.sample.dtype, bytes);
    const raw: Sample = { dtype: spec.sample.dtype, shape: spec.sample.shape, data };
    return spec.steps.reduce((sample, step) => {
      const next = (steps[step.op] as (s: Sample, o: InputStep, t: Tokenizers) => Sample)(
        sample,
        step,
        tokenizers,
      );
      if (next.data !== sample.data) release(sample.data);
      return next;
    }, raw);
  };
}
