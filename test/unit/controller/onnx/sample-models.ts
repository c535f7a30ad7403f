/** Small models for tests, built from plain values with seeded weights. */
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
} from "../../../../controller/onnx/build.ts";
import type { ModelProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { seededRandom } from "../../../../shared/prng.ts";

/** `count` values, roughly normal with the given spread. */
export function randomValues(seed: number, count: number, spread = 1): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => {
    let sum = 0;
    for (let draw = 0; draw < 12; draw++) sum += random.nextFloat();
    return (sum - 6) * spread;
  });
}

/** Conv → Relu → Conv on [N, 3, 8, 8], with a residual Add. */
export function convModel(): ModelProto {
  return makeModel({
    opset: 13,
    graph: makeGraph({
      name: "sample",
      nodes: [
        makeNode({
          opType: "Conv",
          inputs: ["x", "w1", "b1"],
          outputs: ["c1"],
          attributes: { pads: { ints: [1, 1, 1, 1] } },
          name: "first",
        }),
        makeNode({ opType: "Relu", inputs: ["c1"], outputs: ["r1"], name: "relu" }),
        makeNode({ opType: "Conv", inputs: ["r1", "w2"], outputs: ["c2"], name: "second" }),
        makeNode({ opType: "Add", inputs: ["c2", "r1"], outputs: ["y"], name: "sum" }),
      ],
      inputs: [makeValueInfo("x", "float32", ["n", 3, 8, 8])],
      outputs: [makeValueInfo("y", "float32", ["n", 4, 8, 8])],
      initializers: [
        floatTensor("w1", [4, 3, 3, 3], randomValues(1, 108, 0.2)),
        floatTensor("b1", [4], randomValues(2, 4, 0.1)),
        floatTensor("w2", [4, 4, 1, 1], randomValues(3, 16, 0.5)),
      ],
    }),
  });
}
