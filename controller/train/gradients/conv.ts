/**
 * Conv (opset 1, 11): the input's gradient is the transposed convolution; the weight's gradient is
 * a convolution of the input with the output gradient, batch and channels swapped, strides and
 * dilations swapped. Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic", §4.
 *
 * Shapes: x [N, C, …in], weight [M, C/group, …kernel], bias [M], y [N, M, …out], all float32.
 */
import type { BackwardContext, GradientRule, GraphWriter } from "../gradient-rule.ts";
import { padsOf, readWindow, type Window } from "./window.ts";

interface ConvFacts {
  readonly window: Window;
  readonly group: number;
  readonly x: readonly number[];
  readonly weight: readonly number[];
  readonly y: readonly number[];
}

function readFacts({ node, write }: BackwardContext): ConvFacts {
  const x = write.shapeOf(node.inputs[0]!);
  const weight = write.shapeOf(node.inputs[1]!);
  const y = write.shapeOf(node.outputs[0]!);
  const window = readWindow(node, weight.slice(2), x.slice(2), y.slice(2));
  return { window, group: node.int("group", 1), x, weight, y };
}

/** `output_padding` restores input rows that the stride never reached. */
function inputGradient(context: BackwardContext, facts: ConvFacts): string {
  const { window, x, y } = facts;
  const outputPadding = window.kernel.map((kernel, axis) => {
    const reached =
      window.strides[axis]! * (y[axis + 2]! - 1) + window.dilations[axis]! * (kernel - 1) + 1;
    return x[axis + 2]! + window.padsBegin[axis]! + window.padsEnd[axis]! - reached;
  });
  return context.write.emit("ConvTranspose", [context.outputGradient, context.node.inputs[1]!], {
    kernel_shape: { ints: window.kernel },
    strides: { ints: window.strides },
    dilations: { ints: window.dilations },
    pads: { ints: padsOf(window) },
    output_padding: { ints: outputPadding },
    group: { int: facts.group },
  });
}

/** [N, C, …] to [C/group, group·N, …]: every group sees only its own channels. */
function swapBatchAndChannels(
  write: GraphWriter,
  value: string,
  shape: readonly number[],
  group: number,
): string {
  const [batch, channels, ...spatial] = shape as [number, number, ...number[]];
  const spatialAxes = spatial.map((_, axis) => axis);
  if (group === 1) {
    const perm = [1, 0, ...spatialAxes.map((axis) => axis + 2)];
    return write.emit("Transpose", [value], { perm: { ints: perm } });
  }
  const perGroup = channels / group;
  const split = write.emit("Reshape", [value, write.ints([batch, group, perGroup, ...spatial])]);
  const perm = [2, 1, 0, ...spatialAxes.map((axis) => axis + 3)];
  const moved = write.emit("Transpose", [split], { perm: { ints: perm } });
  return write.emit("Reshape", [moved, write.ints([perGroup, group * batch, ...spatial])]);
}

/** The convolution may cover positions past the kernel (rows that the stride dropped): cut off. */
function weightGradient(context: BackwardContext, facts: ConvFacts): string {
  const { write } = context;
  const { window, group, x, y, weight } = facts;
  const image = swapBatchAndChannels(write, context.node.inputs[0]!, x, group);
  const filter = swapBatchAndChannels(write, context.outputGradient, y, 1);
  const wide = write.emit("Conv", [image, filter], {
    kernel_shape: { ints: y.slice(2) },
    strides: { ints: window.dilations },
    dilations: { ints: window.strides },
    pads: { ints: padsOf(window) },
    group: { int: group },
  });
  const sizes = window.kernel.map((_, axis) => {
    const covered = window.strides[axis]! * (y[axis + 2]! - 1) + 1;
    const padded = x[axis + 2]! + window.padsBegin[axis]! + window.padsEnd[axis]!;
    return Math.floor((padded - covered) / window.dilations[axis]!) + 1;
  });
  const isExact = sizes.every((size, axis) => size === window.kernel[axis]);
  const axes = window.kernel.map((_, axis) => axis + 2);
  const cut = isExact
    ? wide
    : write.emit("Slice", [
        wide,
        write.ints(axes.map(() => 0)),
        write.ints(window.kernel),
        write.ints(axes),
      ]);
  const perm = weight.map((_, axis) => (axis === 0 ? 1 : axis === 1 ? 0 : axis));
  return write.emit("Transpose", [cut], { perm: { ints: perm } });
}

function biasGradient(context: BackwardContext, facts: ConvFacts): string {
  const axes = facts.y.map((_, axis) => axis).filter((axis) => axis !== 1);
  const { write } = context;
  return write.emit("ReduceSum", [context.outputGradient, write.ints(axes)], {
    keepdims: { int: 0 },
  });
}

export const convGradient: GradientRule = {
  opType: "Conv",
  weightInputs: [1, 2],
  backward(context) {
    const facts = readFacts(context);
    return [
      context.wants(0) ? inputGradient(context, facts) : undefined,
      context.wants(1) ? weightGradient(context, facts) : undefined,
      context.wants(2) ? biasGradient(context, facts) : undefined,
    ];
  },
};
