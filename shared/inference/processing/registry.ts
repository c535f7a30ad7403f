/** Every input step by name. A new one is one file, one line here and one in the bundle's schema. */
import type { InputSpec, InputStep } from "../../artifact/bundle.ts";
import { FleetError } from "../../errors.ts";
import { affine } from "./affine.ts";
import { cast } from "./cast.ts";
import { reshape } from "./reshape.ts";
import type { Sample } from "./sample.ts";
import { transpose } from "./transpose.ts";
import { elementBytes, elementCount, release, typedFromBytes } from "./typed-data.ts";

type Steps = {
  [Op in InputStep["op"]]: (sample: Sample, step: Extract<InputStep, { op: Op }>) => Sample;
};

const steps: Steps = { cast, affine, transpose, reshape };

/** Bytes of one raw sample of an input. */
export function sampleBytes(spec: InputSpec): number {
  return elementCount(spec.sample.shape) * elementBytes[spec.sample.dtype];
}

/**
 * Raw bytes of one sample to the tensor that the model takes, without batch axis.
 * Errors: `golden-mismatch` when the length or a step does not fit.
 */
export function prepareSample(spec: InputSpec, bytes: Uint8Array): Sample {
  if (bytes.byteLength !== sampleBytes(spec)) {
    throw new FleetError(
      "golden-mismatch",
      `input ${spec.tensor} takes ${sampleBytes(spec)} bytes (${spec.sample.dtype} ${spec.sample.shape}), got ${bytes.byteLength}`,
    );
  }
  const data = typedFromBytes(spec.sample.dtype, bytes);
  const raw: Sample = { dtype: spec.sample.dtype, shape: spec.sample.shape, data };
  return spec.steps.reduce((sample, step) => {
    const next = (steps[step.op] as (s: Sample, o: InputStep) => Sample)(sample, step);
    if (next.data !== sample.data) release(sample.data);
    return next;
  }, raw);
}
