/** A linear model of two outputs and a golden set with real targets, both made from a seed. */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { seededRandom } from "../../shared/prng.ts";

const inputs = 4;
const outputs = 2;
const weights = [0.5, -1, 2, 0.25, -0.75, 1.5, 1, -2];

/** y = xW + offset; an offset makes it worse by that much on every sample. */
export function regressionBytes(offset: number): Uint8Array<ArrayBuffer> {
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [makeNode({ opType: "Gemm", inputs: ["x", "w", "b"], outputs: ["y"] })],
        inputs: [makeValueInfo("x", "float32", ["n", inputs])],
        outputs: [makeValueInfo("y", "float32", ["n", outputs])],
        initializers: [
          floatTensor("w", [inputs, outputs], Float32Array.from(weights)),
          floatTensor("b", [outputs], new Float32Array(outputs).fill(offset)),
        ],
      }),
    }),
  );
}

/** Files of a golden set whose targets are the exact outputs with noise; an error of 4 is worthless. */
export function regressionGolden(count = 400): Record<string, Uint8Array<ArrayBuffer>> {
  const random = seededRandom(5);
  const x = Float32Array.from({ length: count * inputs }, () => random.nextFloat() * 2 - 1);
  const y = Float32Array.from({ length: count * outputs }, (_, at) => {
    const [row, column] = [Math.floor(at / outputs), at % outputs];
    let sum = (random.nextFloat() - 0.5) / 5;
    for (let input = 0; input < inputs; input++) {
      sum += x[row * inputs + input]! * weights[input * outputs + column]!;
    }
    return sum;
  });
  const file = (shape: number[], data: Float32Array) =>
    Uint8Array.from(encodeNpy({ dtype: "float32", shape, data: new Uint8Array(data.buffer) }));
  const manifest = {
    format: "fleetfit-golden/1",
    name: "linear",
    inputs: { x: { file: "x.npy" } },
    targets: { file: "y.npy" },
    metric: { name: "rmse", scale: 4 },
  };
  return {
    "golden.json": new TextEncoder().encode(JSON.stringify(manifest)),
    "x.npy": file([count, inputs], x),
    "y.npy": file([count, outputs], y),
  };
}
