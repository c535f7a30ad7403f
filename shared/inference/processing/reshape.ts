/** The same elements under another shape. */
import { FleetError } from "../../errors.ts";
import type { Sample } from "./sample.ts";
import { elementCount } from "./typed-data.ts";

export function reshape(sample: Sample, { shape }: { shape: number[] }): Sample {
  if (elementCount(shape) !== sample.data.length) {
    throw new FleetError("golden-mismatch", `reshape to ${shape} does not fit ${sample.shape}`);
  }
  return { ...sample, shape };
}
