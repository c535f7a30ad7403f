/**
 * Products with a constant weight: A uint8 or int8 [.., M, K], B int8 or uint8 [K, N].
 *
 * 1. QGemm, also with B [N, K] (transB) and an int32 bias [N] or [1]: codes, or float32.
 * 2. QLinearMatMul: codes. 3. MatMulIntegerToFloat: float32, from MatMul without QuantizeLinear.
 * Scale = a_scale · b_scale [/ y_scale]; sums become codes as in `requantize.ts`, or
 * float32(sum) · scale.
 *
 * 4. MatMulInteger with A's zero point known only when it runs: int32 sums [.., M, N].
 *
 * A weight that is no constant of two dims is left to the runtime: both sides are unsigned then, and the
 * sums exact on every processor.
 *
 * Source: onnxruntime 1.30, quant_gemm.cc, quantize_linear_matmul.cc, matmul_integer.cc, qpostprocessor.cpp.
 */
import type { Node } from "../../../onnx/node.ts";
import { tensorData, tensorShape } from "../../../onnx/tensor.ts";
import { type CodeArray, multiply, type PackedWeights, packWeights } from "../products.ts";
import { codeArray, coder, outputScale } from "../requantize.ts";
import { biasOf, elementsOf, rowCodes, type Step, type StepContext } from "../step.ts";
import type { Unit } from "../unit.ts";

export function matrixStep(context: StepContext, unit: Unit): Step | undefined {
  const [data, weight] = unit.operands;
  const { node, coded } = unit;
  if (data === undefined || weight === undefined) return undefined;
  if (node.int("transA", 0) !== 0 || node.float("alpha", 1) !== 1) return undefined;
  const packed = packedWeight(context, weight.name, node.int("transB", 0) === 1);
  const bias = biasOf(context, unit);
  if (packed === undefined || (unit.bias !== "" && bias === undefined)) return undefined;
  const { columns } = packed;
  if (bias !== undefined && bias.length !== columns && bias.length !== 1) return undefined;
  const scales = Float32Array.from({ length: columns }, (_, column) => {
    const scale = weight.scales[weight.scales.length === 1 ? 0 : column]!;
    return outputScale(data.scales[0]!, scale, coded?.scale);
  });
  return {
    inputs: [data.name],
    outputs: [unit.output],
    run([value]) {
      const { codes, zeroPoint } = rowCodes(value!, data, unit.isShifted);
      const rowCount = codes.length / packed.depth;
      const sums = shiftedSums(codes, rowCount, packed, {
        zeroPoint,
        weightZero: weight.zeroPoint,
      });
      const shape = [...value!.shape.slice(0, -1), columns];
      const result =
        coded === undefined ? new Float32Array(sums.length) : codeArray(coded.type, sums.length);
      const encode = coded === undefined ? (sum: number): number => sum : coder(coded);
      for (let at = 0; at < sums.length; at++) {
        const column = at % columns;
        const add = bias?.[bias.length === 1 ? 0 : column] ?? 0;
        const sum = Math.fround((sums[at]! + add) | 0);
        result[at] = encode(Math.fround(sum * scales[column]!));
      }
      return [{ type: coded?.type ?? "float32", shape, data: result }];
    },
  };
}

/** The matrix that codes are multiplied by; none for a weight that is no constant of two dims. */
export function matrixProducts(
  context: StepContext,
  weight: string,
  isTransposed: boolean,
): readonly PackedWeights[] {
  const packed = packedWeight(context, weight, isTransposed);
  return packed === undefined ? [] : [packed];
}

/** The step of a MatMulInteger node; undefined for a form that is left to the runtime. */
export function matMulIntegerStep(context: StepContext, node: Node): Step | undefined {
  if (!node.is("MatMulInteger")) return undefined;
  const packed = packedWeight(context, node.input(1), false);
  const zeroPoints = context.graph.constant(node.input(3));
  if (packed === undefined || (node.input(3) !== "" && zeroPoints === undefined)) return undefined;
  const weightZeros = zeroPoints === undefined ? [0] : Array.from(tensorData(zeroPoints), Number);
  if (weightZeros.some((zero) => zero !== weightZeros[0])) return undefined;
  return {
    inputs: [node.input(0), ...(node.input(2) === "" ? [] : [node.input(2)])],
    outputs: [node.output(0)],
    run([value, zero]) {
      const codes = value!.data as CodeArray;
      const points = { zeroPoint: Number(zero?.data[0] ?? 0), weightZero: weightZeros[0]! };
      const data = shiftedSums(codes, codes.length / packed.depth, packed, points);
      return [{ type: "int32", shape: [...value!.shape.slice(0, -1), packed.columns], data }];
    },
  };
}

/** A constant weight as columns; undefined when it is none of two dims. */
function packedWeight(
  { graph, processor }: StepContext,
  weight: string,
  isTransposed: boolean,
): PackedWeights | undefined {
  const tensor = graph.constant(weight);
  if (tensor?.dims.length !== 2) return undefined;
  const codes = tensorData(tensor) as CodeArray;
  const [first, second] = tensorShape(tensor) as [number, number];
  if (isTransposed) return packWeights(codes, first, second, processor);
  return packWeights(transposed(codes, first, second), second, first, processor);
}

/** [rows, columns] as [columns, rows]. */
export function transposed<T extends CodeArray | Int32Array>(
  codes: T,
  rows: number,
  columns: number,
): T {
  const result = codes.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = codes[row * columns + column]!;
    }
  }
  return result;
}

/** Sums [rows, columns] of what the codes stand for, in units of both scales. */
export function shiftedSums(
  codes: CodeArray,
  rowCount: number,
  weights: PackedWeights,
  { zeroPoint, weightZero }: { readonly zeroPoint: number; readonly weightZero: number },
): Int32Array {
  const { columns, depth } = weights;
  const sums = new Int32Array(elementsOf([rowCount, columns]));
  multiply(codes, rowCount, weights, sums);
  for (let row = 0; row < rowCount; row++) {
    let rowSum = 0;
    for (let k = 0; weightZero !== 0 && k < depth; k++) rowSum += codes[row * depth + k]!;
    const shift = weightZero * (depth * zeroPoint - rowSum);
    for (let column = 0; column < columns; column++) {
      sums[row * columns + column]! += shift - zeroPoint * weights.sums[column]!;
    }
  }
  return sums;
}
