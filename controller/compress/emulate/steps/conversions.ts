/**
 * Between floats and codes outside of units.
 *
 * 1. QuantizeLinear with one scale: float32 to uint8 or int8 of the same shape.
 * 2. DequantizeLinear with one scale: codes to float32.
 * Other forms (per channel, blocks, other types) are left to the runtime.
 *
 * Source: ONNX opset 13 QuantizeLinear and DequantizeLinear; onnxruntime 1.30, mlas/lib/quantize.cpp.
 */
import type { DataType } from "../../../onnx/data-type.ts";
import type { Node } from "../../../onnx/node.ts";
import type { CodeArray } from "../products.ts";
import { quantize } from "../requantize.ts";
import type { Step, StepContext } from "../step.ts";
import { codedBy, operandOf } from "../unit.ts";

export function conversionStep(
  { graph }: StepContext,
  types: ReadonlyMap<string, DataType>,
  node: Node,
): Step | undefined {
  const isQuantize = node.opType === "QuantizeLinear";
  if (!isQuantize && node.opType !== "DequantizeLinear") return undefined;
  const type = types.get(isQuantize ? node.output(0) : node.input(0));
  const coded = codedBy(operandOf(graph, "", node.input(1), node.input(2), type));
  if (coded === undefined || graph.constant(node.input(0)) !== undefined) return undefined;
  return {
    inputs: [node.input(0)],
    outputs: [node.output(0)],
    run([value]) {
      const { shape, data } = value!;
      if (isQuantize)
        return [{ type: coded.type, shape, data: quantize(data as Float32Array, coded) }];
      const codes = data as CodeArray;
      const floats = new Float32Array(codes.length);
      for (let at = 0; at < codes.length; at++) {
        floats[at] = (codes[at]! - coded.zeroPoint) * coded.scale;
      }
      return [{ type: "float32", shape, data: floats }];
    },
  };
}
