/** New order of the axes: output axis i is input axis order[i], as ONNX Transpose does. */
import { FleetError } from "../../errors.ts";
import type { Sample } from "./sample.ts";
import { typedOfLength } from "./typed-data.ts";

export function transpose(sample: Sample, { order }: { order: number[] }): Sample {
  const rank = sample.shape.length;
  if (order.length !== rank || new Set(order).size !== rank || order.some((axis) => axis >= rank)) {
    throw new FleetError("golden-mismatch", `transpose ${order} does not fit rank ${rank}`);
  }
  const shape = order.map((axis) => sample.shape[axis]!);
  const strides = sample.shape.map((_, axis) =>
    sample.shape.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  const data = typedOfLength(sample.dtype, sample.data.length);
  for (let at = 0; at < data.length; at++) {
    let rest = at;
    let from = 0;
    for (let axis = rank - 1; axis >= 0; axis--) {
      from += (rest % shape[axis]!) * strides[order[axis]!]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    data[at] = sample.data[from]!;
  }
  return { dtype: sample.dtype, shape, data };
}
