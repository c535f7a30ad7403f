/**
 * The largest magnitude of each row gets the largest code, so nothing is cut.
 * Source: onnxruntime 1.30, quantization/quant_utils.py, compute_scale_zp.
 */
import { rangeOf, scaleAndZeroPoint } from "../scale.ts";
import { defineWeightScale, type WeightScaleRequest } from "./strategy.ts";

export const maxScale = defineWeightScale({
  name: "max",
  options: {},
  scales: maxScales,
});

/** float32 scales, one per row or one for all, with which no weight is cut. */
export function maxScales(request: WeightScaleRequest): Float32Array {
  const { rows, perChannel, codes, symmetric } = request;
  const { values, channels } = rows;
  const count = perChannel ? channels : 1;
  const length = values.length / count;
  return Float32Array.from({ length: count }, (_, row) => {
    const range = rangeOf(values.subarray(row * length, (row + 1) * length));
    return scaleAndZeroPoint(range, codes, symmetric).scale;
  });
}
