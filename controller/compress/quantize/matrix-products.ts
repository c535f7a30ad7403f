/**
 * Products of large matrices, computed by the runtime: its kernels are some thirty times faster than
 * loops in JavaScript.
 *
 * One model of one node pair serves all shapes: y = a · Transpose(b), a float32 [batch, rows, inner],
 * b float32 [batch, columns, inner], y float32 [batch, rows, columns].
 *
 * Invariant: on one machine the same input gives the same bits, for the runtime computes with one
 * thread; from machine to machine sums may differ in the last bits.
 */
import { assert } from "../../../shared/assert.ts";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../onnx/build.ts";
import { encodeModel } from "../../onnx/proto.ts";
import type { TensorValue, Workbench } from "../execute.ts";

export interface MatrixOperand {
  readonly data: Float32Array;
  /** [batch, rows, inner]. */
  readonly shape: readonly [number, number, number];
}

export interface MatrixProducts {
  /** left [batch, rows, inner] times the transpose of right [batch, columns, inner]: [batch, rows, columns]. */
  readonly timesTransposed: (left: MatrixOperand, right: MatrixOperand) => Promise<Float32Array>;
  readonly close: () => Promise<void>;
}

/** Whoever opens them closes them. */
export async function openProducts(workbench: Workbench): Promise<MatrixProducts> {
  const model = await workbench.load(productModel(), "all");
  return {
    async timesTransposed(left, right) {
      const outputs = await model.run(
        new Map([
          ["a", operand(left)],
          ["b", operand(right)],
        ]),
      );
      const { data } = outputs.get("y")!;
      assert(data instanceof Float32Array, "a product of float32 matrices is float32");
      return data;
    },
    close: model.close,
  };
}

function operand({ data, shape }: MatrixOperand): TensorValue {
  return { type: "float32", shape, data };
}

function productModel(): Uint8Array {
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          makeNode({
            opType: "Transpose",
            inputs: ["b"],
            outputs: ["turned"],
            attributes: { perm: { ints: [0, 2, 1] } },
          }),
          makeNode({ opType: "MatMul", inputs: ["a", "turned"], outputs: ["y"] }),
        ],
        inputs: [
          makeValueInfo("a", "float32", ["batch", "rows", "inner"]),
          makeValueInfo("b", "float32", ["batch", "columns", "inner"]),
        ],
        outputs: [makeValueInfo("y", "float32", ["batch", "rows", "columns"])],
      }),
    }),
  );
}
