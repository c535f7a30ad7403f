/**
 * The largest magnitude of each row gets the largest code, so nothing is cut.
 * Source: onnxruntime 1.30, quantization/quant_utils.py, compute_scale_zp, symmetric.
 */
import { weightScale } from "../scale.ts";
import { defineWeightScale } from "./strategy.ts";

export const maxScale = defineWeightScale({
  name: "max",
  options: {},
  scales({ rows, perChannel, codes }) {
    const { values, channels, length } = rows;
    const magnitudes = new Float32Array(perChannel ? channels : 1);
    for (let index = 0; index < values.length; index++) {
      const at = perChannel ? Math.floor(index / length) : 0;
      const magnitude = Math.abs(values[index]!);
      if (magnitude > magnitudes[at]!) magnitudes[at] = magnitude;
    }
    return magnitudes.map((magnitude) => weightScale(magnitude, codes));
  },
});
