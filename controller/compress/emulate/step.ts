/** One thing that an emulation does: it reads values by name and makes others. */

import type { Processor } from "../../../shared/devices/processor.ts";
import type { Graph } from "../../onnx/graph.ts";
import { tensorDataAs } from "../../onnx/tensor.ts";
import type { TensorValue } from "../execute.ts";
import type { CodeArray } from "./products.ts";
import type { Operand, Unit } from "./unit.ts";

export interface Step {
  /** Names of the values that it reads, and of those it makes. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Values in the order of `inputs` to values in the order of `outputs`. */
  readonly run: (
    values: readonly TensorValue[],
  ) => readonly TensorValue[] | Promise<readonly TensorValue[]>;
}

/** What a step may look at while it is made. */
export interface StepContext {
  readonly graph: Graph;
  readonly processor: Processor;
}

/** Makes the step of a unit; undefined for a form that it does not emulate. */
export type StepMaker = (context: StepContext, unit: Unit) => Step | undefined;

/** 8-bit codes of a value, as the runtime's kernels see them, with their zero point. */
export function rowCodes(
  { data }: TensorValue,
  { zeroPoint }: Operand,
  isShifted: boolean,
): { readonly codes: CodeArray; readonly zeroPoint: number } {
  if (!(data instanceof Int8Array) || !isShifted) return { codes: data as CodeArray, zeroPoint };
  return { codes: Uint8Array.from(data, (code) => code + 128), zeroPoint: zeroPoint + 128 };
}

/** The bias of a unit, absent when it has none; undefined also when it is no constant of int32. */
export function biasOf({ graph }: StepContext, { bias }: Unit): Int32Array | undefined {
  const tensor = bias === "" ? undefined : graph.constant(bias);
  return tensor === undefined ? undefined : tensorDataAs(tensor, "int32");
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
