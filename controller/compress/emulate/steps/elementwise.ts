/**
 * QLinearAdd and QLinearMul: two operands of codes, broadcast against each other, give codes.
 *
 * 1. Add: with ratios r = scale / y_scale, the fixed part f = y_zero − (r_a · a_zero + r_b · b_zero) and
 *    codes a, b: round(a · r_a + (b · r_b + f)), each product and sum fused into one rounding. Where one
 *    side is a single code, its product joins the fixed part.
 * 2. Mul: round((a − a_zero) · (b − b_zero) · (a_scale · b_scale / y_scale) + y_zero), rounded to float32
 *    after each step.
 *
 * Source: onnxruntime 1.30, mlas/lib/intrinsics/avx2/qladd_avx2.cpp, qlmul.cpp; broadcasting as in
 * element_wise_ops.h: the axes that end both shapes alike make one run.
 */
import type { TensorValue } from "../../execute.ts";
import type { CodeArray } from "../products.ts";
import { type CodeParameters, codeArray, outputScale, saturator } from "../requantize.ts";
import { elementsOf, type Step, type StepContext } from "../step.ts";
import type { Operand, Unit } from "../unit.ts";

/** A binary function of codes; `first` and `second` tell whether that side is one code in a run. */
type Combine = (a: number, b: number, first: boolean, second: boolean) => number;

export const addStep = binaryStep(adder);
export const mulStep = binaryStep(multiplier);

function binaryStep(
  combine: (a: Operand, b: Operand, coded: CodeParameters) => Combine,
): (context: StepContext, unit: Unit) => Step | undefined {
  return (_context, unit) => {
    const [a, b] = unit.operands;
    const { coded } = unit;
    if (a === undefined || b === undefined || coded === undefined) return undefined;
    if (a.scales.length !== 1 || b.scales.length !== 1) return undefined;
    const apply = combine(a, b, coded);
    return {
      inputs: [a.name, b.name],
      outputs: [unit.output],
      run([left, right]) {
        return [broadcast(left!, right!, coded, apply)];
      },
    };
  };
}

function adder(a: Operand, b: Operand, coded: CodeParameters): Combine {
  const ratioA = Math.fround(a.scales[0]! / coded.scale);
  const ratioB = Math.fround(b.scales[0]! / coded.scale);
  const { zeroPoint } = coded;
  const fixed = Math.fround(
    zeroPoint - Math.fround(Math.fround(ratioA * a.zeroPoint) + Math.fround(ratioB * b.zeroPoint)),
  );
  const encode = saturator(coded.type);
  return (codeA, codeB, isSingleA, isSingleB) => {
    if (isSingleA) {
      const base = Math.fround(fixed + Math.fround(codeA * ratioA));
      return encode(Math.fround(codeB * ratioB + base));
    }
    if (isSingleB) {
      const base = Math.fround(fixed + Math.fround(codeB * ratioB));
      return encode(Math.fround(codeA * ratioA + base));
    }
    return encode(Math.fround(codeA * ratioA + Math.fround(codeB * ratioB + fixed)));
  };
}

function multiplier(a: Operand, b: Operand, coded: CodeParameters): Combine {
  const scale = outputScale(a.scales[0]!, b.scales[0]!, coded.scale);
  const encode = saturator(coded.type);
  return (codeA, codeB) => {
    const product = (codeA - a.zeroPoint) * (codeB - b.zeroPoint);
    return encode(Math.fround(Math.fround(product * scale) + coded.zeroPoint));
  };
}

function broadcast(
  left: TensorValue,
  right: TensorValue,
  coded: CodeParameters,
  apply: Combine,
): TensorValue {
  const shape = broadcastShape(left.shape, right.shape);
  const result = codeArray(coded.type, elementsOf(shape));
  const a = left.data as CodeArray;
  const b = right.data as CodeArray;
  const strideA = stridesIn(left.shape, shape);
  const strideB = stridesIn(right.shape, shape);
  const last = shape.length - 1;
  const isSingleA = last >= 0 && strideA[last] === 0 && strideB[last] !== 0;
  const isSingleB = last >= 0 && strideB[last] === 0 && strideA[last] !== 0;
  const position = new Int32Array(shape.length);
  let atA = 0;
  let atB = 0;
  for (let at = 0; at < result.length; at++) {
    result[at] = apply(a[atA]!, b[atB]!, isSingleA, isSingleB);
    for (let axis = last; axis >= 0; axis--) {
      position[axis]!++;
      atA += strideA[axis]!;
      atB += strideB[axis]!;
      if (position[axis]! < shape[axis]!) break;
      atA -= strideA[axis]! * shape[axis]!;
      atB -= strideB[axis]! * shape[axis]!;
      position[axis] = 0;
    }
  }
  return { type: coded.type, shape, data: result };
}

/** ONNX, "Broadcasting in ONNX". */
function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    return left === 1 ? right : left;
  });
}

/** How far each axis of `shape` moves in an array of `own` shape; 0 along repeated axes. */
function stridesIn(own: readonly number[], shape: readonly number[]): number[] {
  const strides: number[] = Array(shape.length).fill(0);
  let step = 1;
  for (let axis = own.length - 1; axis >= 0; axis--) {
    const length = own[axis]!;
    if (length !== 1) strides[axis + shape.length - own.length] = step;
    step *= length;
  }
  return strides;
}
