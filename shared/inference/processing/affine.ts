/** y = x · scale + offset in float32, with one pair for all or one per index of an axis. */
import { FleetError } from "../../errors.ts";
import type { Sample } from "./sample.ts";

export function affine(
  sample: Sample,
  { axis, scale, offset }: { axis: number; scale: number[]; offset: number[] },
): Sample {
  if (!(sample.data instanceof Float32Array)) {
    throw new FleetError("golden-mismatch", "affine needs float32: put a cast before it");
  }
  const channels = sample.shape[axis] ?? 1;
  for (const values of [scale, offset]) {
    if (values.length !== 1 && values.length !== channels) {
      throw new FleetError(
        "golden-mismatch",
        `affine has ${values.length} values for ${channels} indices of axis ${axis}`,
      );
    }
  }
  const inner = sample.shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const data = new Float32Array(sample.data.length);
  for (let at = 0; at < data.length; at++) {
    const channel = Math.floor(at / inner) % channels;
    const factor = scale.length === 1 ? scale[0]! : scale[channel]!;
    const shift = offset.length === 1 ? offset[0]! : offset[channel]!;
    data[at] = sample.data[at]! * factor + shift;
  }
  return { ...sample, data };
}
