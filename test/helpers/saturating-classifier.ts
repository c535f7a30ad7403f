/**
 * A classifier whose full-range int8 form is right where sums are exact and wrong on x86 without VNNI: the
 * weights of its first class are all the largest code, so bright neighbours pass 16 bits in pairs.
 */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { seededRandom } from "../../shared/prng.ts";

const pixels = 64;

/**
 * Gemm of 64 pixels, 0 to 1, to two classes: the sum of all pixels against 1.8 times that of every second
 * one, whose pairs have one large weight and lose nothing.
 */
export function saturatingModelBytes(): Uint8Array<ArrayBuffer> {
  const weights = Array.from({ length: pixels }, (_, at) => [1, at % 2 === 0 ? 1.8 : 0]).flat();
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [makeNode({ opType: "Gemm", inputs: ["x", "w", "b"], outputs: ["y"] })],
        inputs: [makeValueInfo("x", "float32", ["n", pixels])],
        outputs: [makeValueInfo("y", "float32", ["n", 2])],
        initializers: [floatTensor("w", [pixels, 2], weights), floatTensor("b", [2], [0, 0])],
      }),
    }),
  );
}

export const saturatingInterface: ModelInterface = {
  inputs: [
    {
      tensor: "x",
      sample: { dtype: "uint8", shape: [pixels] },
      steps: [
        { op: "cast", to: "float32" },
        { op: "affine", axis: 0, scale: [1 / 255], offset: [0] },
      ],
    },
  ],
  output: { kind: "classification", tensor: "y", scores: "softmax", labels: ["even", "striped"] },
};

/** Files of a golden set by name: even and striped rows of pixels in turns, all of them labelled right. */
export function saturatingGolden(count = 400) {
  const random = seededRandom(5);
  const around = (value: number) => value + random.nextInt(21) - 10;
  const labels = Uint8Array.from({ length: count }, (_, sample) => sample % 2);
  const data = Uint8Array.from({ length: count * pixels }, (_, at) => {
    const isStriped = labels[Math.floor(at / pixels)] === 1;
    return isStriped ? around(at % 2 === 0 ? 240 : 120) : around(200);
  });
  const manifest = {
    format: "fleetfit-golden/1",
    name: "rows of pixels",
    inputs: { x: { file: "x.npy" } },
    labels: { file: "labels.npy" },
    metric: { name: "top-1" },
  };
  return {
    "golden.json": new TextEncoder().encode(JSON.stringify(manifest)),
    "x.npy": encodeNpy({ dtype: "uint8", shape: [count, pixels], data }),
    "labels.npy": encodeNpy({ dtype: "uint8", shape: [count], data: labels }),
  };
}
