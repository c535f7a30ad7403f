/**
 * QLinearSoftmax over the last axis: codes [.., D] give codes [.., D].
 *
 * A table holds exp((code − 255 + shift) · x_scale) with a shift that keeps the sum of D entries below
 * the largest float32; each row reads it moved so that its largest code reads the last entry. Then
 * round(entry · floor(1 / y_scale) / sum) + y_zero, at most 255.
 *
 * Source: onnxruntime 1.30, contrib_ops/cpu/quantization/qlinear_softmax.cc.
 */
import type { CodeArray } from "../products.ts";
import { codeArray, saturator } from "../requantize.ts";
import type { Step, StepContext } from "../step.ts";
import type { Unit } from "../unit.ts";

/** The largest float32. */
const floatMax = 3.4028234663852886e38;

/** Powers of e that the table stays below it (QlinearBuildLookupTableUint32, reserve_bit). */
const reserve = 5;

export function softmaxStep(_context: StepContext, unit: Unit): Step | undefined {
  const [data] = unit.operands;
  const { coded, node } = unit;
  if (data?.scales.length !== 1 || data.type !== "uint8" || coded?.type !== "uint8")
    return undefined;
  // The rank is not known here; over another axis the runtime does it, which is as exact.
  if (node.int("axis", -1) !== -1) return undefined;
  const encode = saturator("uint8");
  const scale = data.scales[0]!;
  const inverse = Math.floor(Math.fround(1 / coded.scale));
  return {
    inputs: [data.name],
    outputs: [unit.output],
    run([value]) {
      const codes = value!.data as CodeArray;
      const depth = value!.shape.at(-1)!;
      const table = exponentials(scale, depth);
      const result = codeArray(coded.type, codes.length);
      for (let start = 0; start < codes.length; start += depth) {
        let largest = 0;
        for (let at = start; at < start + depth; at++) largest = Math.max(largest, codes[at]!);
        const moved = 255 - largest;
        let sum = 0;
        for (let at = start; at < start + depth; at++) {
          sum = Math.fround(sum + table[moved + codes[at]!]!);
        }
        for (let at = start; at < start + depth; at++) {
          const scaled = Math.fround(table[moved + codes[at]!]! * inverse);
          result[at] = Math.min(encode(Math.fround(scaled / sum)) + coded.zeroPoint, 255);
        }
      }
      return [{ type: coded.type, shape: value!.shape, data: result }];
    },
  };
}

function exponentials(scale: number, depth: number): Float32Array {
  const room = Math.log(Math.fround(floatMax / depth));
  const shift = Math.max(0, room - reserve) / scale;
  return Float32Array.from({ length: 256 }, (_, code) => Math.exp((code - 255 + shift) * scale));
}
