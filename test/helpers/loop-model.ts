/** A model whose one run lasts as long as its input says: a loop that counts to it. */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";

/** Input `n` int64 [1]: iterations. Output `y` int64 [1]: n doubled as often. */
export function loopModelBytes(): Uint8Array<ArrayBuffer> {
  const scalar = (name: string, type: "int64" | "bool") => makeValueInfo(name, type, []);
  const body = makeGraph({
    name: "body",
    inputs: [scalar("i", "int64"), scalar("go", "bool"), makeValueInfo("value", "int64", [1])],
    outputs: [scalar("goOn", "bool"), makeValueInfo("next", "int64", [1])],
    nodes: [
      makeNode({ opType: "Identity", inputs: ["go"], outputs: ["goOn"] }),
      makeNode({ opType: "Add", inputs: ["value", "value"], outputs: ["next"] }),
    ],
  });
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        inputs: [makeValueInfo("n", "int64", [1])],
        outputs: [makeValueInfo("y", "int64", [1])],
        nodes: [
          makeNode({
            opType: "Loop",
            inputs: ["n", "", "n"],
            outputs: ["y"],
            attributes: { body: { graph: body } },
          }),
        ],
      }),
    }),
  );
}

export const loopInterface: ModelInterface = {
  inputs: [{ tensor: "n", sample: { dtype: "int64", shape: [1] }, steps: [] }],
  output: { kind: "tensors", tensors: ["y"] },
};

/** The raw sample that makes the model count to `iterations`. */
export const iterations = (count: bigint) => ({
  n: new Uint8Array(new BigInt64Array([count]).buffer),
});
