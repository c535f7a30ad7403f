/**
 * Windows of convolutions and poolings over one or two spatial axes: their sizes, strides and padding,
 * one axis being seen as two with a height of 1. Source: ONNX opset 11 Conv, opset 19 AveragePool.
 */
import type { Node } from "../../../onnx/node.ts";

/** Lengths along height and width. */
export type Pair = readonly [number, number];

export interface Windows {
  readonly input: Pair;
  readonly kernel: Pair;
  readonly strides: Pair;
  readonly dilations: Pair;
  /** Padding before the first row and column. */
  readonly padding: Pair;
  readonly output: Pair;
}

/** Undefined for more than two spatial axes. */
export function windowsOf(
  node: Node,
  inputSpatial: readonly number[],
  kernelSpatial: readonly number[],
): Windows | undefined {
  const rank = inputSpatial.length;
  if (rank < 1 || rank > 2) return undefined;
  const pads = node.ints("pads", Array(2 * rank).fill(0));
  const input = pair(inputSpatial);
  const kernel = pair(kernelSpatial);
  const strides = pair(node.ints("strides", Array(rank).fill(1)));
  const dilations = pair(node.ints("dilations", Array(rank).fill(1)));
  const before = pair(pads.slice(0, rank), 0);
  const after = pair(pads.slice(rank), 0);
  const axes = [0, 1].map((axis) =>
    axisOf({
      input: input[axis]!,
      reach: (kernel[axis]! - 1) * dilations[axis]! + 1,
      stride: strides[axis]!,
      before: before[axis]!,
      after: after[axis]!,
      autoPad: node.string("auto_pad", "NOTSET"),
      roundsUp: node.int("ceil_mode", 0) === 1,
    }),
  );
  return {
    input,
    kernel,
    strides,
    dilations,
    padding: [axes[0]!.before, axes[1]!.before],
    output: [axes[0]!.output, axes[1]!.output],
  };
}

/** The shape of the output's spatial axes, of which there are as many as the input has. */
export function outputSpatial({ output }: Windows, rank: number): readonly number[] {
  return rank === 1 ? [output[1]] : output;
}

function pair(lengths: readonly number[], missing = 1): Pair {
  return lengths.length === 1 ? [missing, lengths[0]!] : [lengths[0]!, lengths[1]!];
}

function axisOf(axis: {
  readonly input: number;
  readonly reach: number;
  readonly stride: number;
  readonly before: number;
  readonly after: number;
  readonly autoPad: string;
  readonly roundsUp: boolean;
}): { readonly before: number; readonly output: number } {
  const { input, reach, stride, autoPad } = axis;
  if (autoPad === "SAME_UPPER" || autoPad === "SAME_LOWER") {
    const output = Math.ceil(input / stride);
    const padding = Math.max((output - 1) * stride + reach - input, 0);
    const half = Math.floor(padding / 2);
    return { before: autoPad === "SAME_UPPER" ? half : padding - half, output };
  }
  const before = autoPad === "VALID" ? 0 : axis.before;
  const after = autoPad === "VALID" ? 0 : axis.after;
  const room = (input + before + after - reach) / stride;
  if (!axis.roundsUp) return { before, output: Math.floor(room) + 1 };
  // A window that would start in the padding behind is left out (ONNX opset 19 AveragePool).
  const output = Math.ceil(room) + 1;
  return { before, output: (output - 1) * stride >= input + before ? output - 1 : output };
}
