/** The net whose scales were made with onnxruntime's own quantizer, and its calibration samples. */
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

export const parityShape = [1, 3, 6, 6];

export const paritySeeds = [1, 2, 3, 4];

export const parityFeeds = feedsOf(parityShape);

/** Conv, Clip to 6, depthwise Conv, Relu, Add, average, Gemm, MatMul; one bias too large for int32. */
export function parityNet(): Model {
  const filters = (name: string, shape: readonly number[], seed: number, spread = 0.4) =>
    floatTensor(
      name,
      shape,
      randomValues(
        seed,
        shape.reduce((product, dim) => product * dim, 1),
        spread,
      ),
    );
  const depthwise = randomValues(12, 4 * 9, 0.4);
  // The weights of one channel are so small that its bias does not fit into int32.
  depthwise.fill(1e-11, 9, 18);
  return buildModel({
    opset: 13,
    inputShape: parityShape,
    nodes: [
      node("Conv", ["x", "w1", "b1"], ["c1"], { pads: { ints: [1, 1, 1, 1] } }),
      node("Clip", ["c1", "low", "high"], ["r1"]),
      node("Conv", ["r1", "w2", "b2"], ["c2"], {
        pads: { ints: [1, 1, 1, 1] },
        group: { int: 4 },
      }),
      node("Relu", ["c2"], ["r2"]),
      node("Add", ["r2", "r1"], ["sum"]),
      node("GlobalAveragePool", ["sum"], ["g"]),
      node("Flatten", ["g"], ["f"]),
      node("Gemm", ["f", "w3", "b3"], ["h"], { transB: { int: 1 } }),
      node("Sigmoid", ["h"], ["s"]),
      node("MatMul", ["s", "w4"], ["y"]),
    ],
    initializers: [
      filters("w1", [4, 3, 3, 3], 11, 2),
      filters("b1", [4], 21),
      floatTensor("low", [], [0]),
      floatTensor("high", [], [6]),
      floatTensor("w2", [4, 1, 3, 3], depthwise),
      floatTensor("b2", [4], [0.1, 1.5, -0.2, 0.3]),
      filters("w3", [5, 4], 13),
      filters("b3", [5], 23),
      filters("w4", [5, 3], 14),
    ],
  });
}
