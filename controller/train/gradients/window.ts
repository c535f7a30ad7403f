/**
 * The arithmetic of sliding windows (Conv and pools): explicit pads from `auto_pad`, with the
 * defaults of ONNX opset 11 Conv, MaxPool and AveragePool.
 */
import type { Node } from "../../onnx/node.ts";
import { unsupportedForm } from "../gradient-rule.ts";

export interface Window {
  /** One entry per spatial axis in each list. */
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padsBegin: readonly number[];
  readonly padsEnd: readonly number[];
}

/**
 * The window of a node whose input has spatial sizes `input` and output `output`.
 * Throws `onnx-unsupported` for an unknown `auto_pad`.
 */
export function readWindow(
  node: Node,
  kernel: readonly number[],
  input: readonly number[],
  output: readonly number[],
): Window {
  const ones = kernel.map(() => 1);
  const strides = node.ints("strides", ones);
  const dilations = node.ints("dilations", ones);
  const autoPad = node.string("auto_pad", "NOTSET");
  const rank = kernel.length;
  if (autoPad === "NOTSET" || autoPad === "VALID") {
    const pads = autoPad === "VALID" ? [] : node.ints("pads", []);
    const padsBegin = kernel.map((_, axis) => pads[axis] ?? 0);
    const padsEnd = kernel.map((_, axis) => pads[rank + axis] ?? 0);
    return { kernel, strides, dilations, padsBegin, padsEnd };
  }
  if (autoPad !== "SAME_UPPER" && autoPad !== "SAME_LOWER") {
    throw unsupportedForm(node, `auto_pad ${autoPad} is unknown`);
  }
  const totals = kernel.map((size, axis) => {
    const covered = (output[axis]! - 1) * strides[axis]! + dilations[axis]! * (size - 1) + 1;
    return Math.max(0, covered - input[axis]!);
  });
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  const upper = autoPad === "SAME_UPPER";
  return {
    kernel,
    strides,
    dilations,
    padsBegin: upper ? less : more,
    padsEnd: upper ? more : less,
  };
}

/** Begin pads then end pads, as the `pads` attribute lists them. */
export function padsOf(window: Window): number[] {
  return [...window.padsBegin, ...window.padsEnd];
}
