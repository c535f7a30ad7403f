/** A net between whose products exporters and passes write Reshapes that undo one another. */
import { intTensor } from "../../../../controller/onnx/tensor.ts";
import { buildModel, feedsOf, node, type SampleNet, weights } from "./sample-nets.ts";

/** A block of a transformer whose products are matrices, as `matmul-add-to-gemm` leaves them. */
export const flattenedNet: SampleNet = {
  name: "flattened products",
  feeds: feedsOf([2, 3, 8]),
  model: () =>
    buildModel({
      opset: 17,
      inputShape: ["n", 3, 8],
      nodes: [
        node("Reshape", ["x", "rows"], ["x2"]),
        node("Gemm", ["x2", "w", "b"], ["p2"]),
        node("Reshape", ["p2", "dims"], ["p"]),
        node("Relu", ["p"], ["r"]),
        node("Reshape", ["r", "rows"], ["r2"]),
        node("Gemm", ["r2", "w", "b"], ["q2"]),
        node("Reshape", ["q2", "dims"], ["q"]),
        node("Add", ["r", "q"], ["s"]),
        node("LayerNormalization", ["s", "scale", "b"], ["l"], { axis: { int: 2 } }),
        node("Reshape", ["l", "heads"], ["h"]),
        node("Transpose", ["h"], ["y"], { perm: { ints: [0, 2, 1, 3] } }),
      ],
      initializers: [
        intTensor("rows", [-1, 8]),
        intTensor("dims", [-1, 3, 8]),
        intTensor("heads", [0, 3, 2, 4]),
        weights("w", [8, 8], 1, 0.4),
        weights("b", [8], 2, 0.5),
        weights("scale", [8], 3, 0.5),
      ],
    }),
};
