/**
 * QLinearAdd and QLinearMul: two operands of codes, broadcast against each other, give codes.
 *
 * 1. Add: with ratios r = scale / y_scale, the fixed part f = y_zero − (r_a · a_zero + r_b · b_zero) and
 *    codes a, b: round(a · r_a + (b · r_b + f)), each product and sum fused into one rounding. Where one
 *    side is a single code, its product joins the fixed part.
 * 2. Add on Arm, in integers: with p = 2^(21 − e), e the exponent of the larger ratio, and multipliers
 *    m = round(r · p): ((a − a_zero) · m_a + (b − b_zero) · m_b) / p, rounded half away from zero, plus y_zero.
 *    Ratios below 2^-14 or from 2^8 on: ((a − a_zero) · a_scale + (b − b_zero) · b_scale) / y_scale.
 * 3. Mul: round((a − a_zero) · (b − b_zero) · (a_scale · b_scale / y_scale) + y_zero), rounded to float32
 *    after each step.
 *
 * Source: onnxruntime 1.30, mlas/lib/intrinsics/avx2/qladd_avx2.cpp, qladd.cpp, qlmul.cpp; broadcasting as in
 * element_wise_ops.h: the axes that end both shapes alike make one run.
 */

import type { Processor } from "../../../../shared/devices/processor.ts";
import type { TensorValue } from "../../execute.ts";
import { roundHalfEven } from "../../quantize/scale.ts";
import type { CodeArray } from "../products.ts";
import { type CodeParameters, codeArray, outputScale, saturator } from "../requantize.ts";
import { elementsOf, type Step, type StepContext } from "../step.ts";
import type { Operand, Unit } from "../unit.ts";

/** A binary function of codes; `first` and `second` tell whether that side is one code in a run. */
type Combine = (a: number, b: number, first: boolean, second: boolean) => number;

export const addStep = binaryStep((a, b, coded, processor) =>
  processor === "arm" ? armAdder(a, b, coded) : adder(a, b, coded),
);
export const mulStep = binaryStep(multiplier);

function binaryStep(
  combine: (a: Operand, b: Operand, coded: CodeParameters, processor: Processor) => Combine,
): (context: StepContext, unit: Unit) => Step | undefined {
  return ({ processor }, unit) => {
    const [a, b] = unit.operands;
    const { coded } = unit;
    if (a === undefined || b === undefined || coded === undefined) return undefined;
    if (a.scales.length !== 1 || b.scales.length !== 1) return undefined;
    const apply = combine(a, b, coded, processor);
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

/** Bounds of the ratios that fit into the multipliers (MlasCalcQLinearAddParameters). */
const ratioMin = 2 ** -14;
const ratioMax = 2 ** 8;

/** Bits of a multiplier below its highest. */
const multiplierBits = 21;

function armAdder(a: Operand, b: Operand, coded: CodeParameters): Combine {
  const ratios = [a, b].map(({ scales }) => Math.fround(scales[0]! / coded.scale));
  const encode = saturator(coded.type);
  if (ratios.some((ratio) => ratio < ratioMin || ratio >= ratioMax)) {
    const scaled = (code: number, { scales, zeroPoint }: Operand): number =>
      Math.fround(scales[0]! * (code - zeroPoint));
    return (codeA, codeB) => {
      const sum = Math.fround(scaled(codeA, a) + scaled(codeB, b));
      return encode(Math.fround(Math.fround(sum / coded.scale) + coded.zeroPoint));
    };
  }
  const shift = multiplierBits - Math.floor(Math.log2(Math.max(...ratios)));
  const [multiplierA, multiplierB] = ratios.map((ratio) =>
    roundHalfEven(Math.fround(ratio * 2 ** shift)),
  );
  return (codeA, codeB) => {
    const sum = (codeA - a.zeroPoint) * multiplierA! + (codeB - b.zeroPoint) * multiplierB!;
    const magnitude = Math.floor(Math.abs(sum) / 2 ** shift + 0.5);
    return encode((sum < 0 ? -magnitude : magnitude) + coded.zeroPoint);
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
