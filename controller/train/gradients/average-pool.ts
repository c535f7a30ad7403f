/**
 * AveragePool (opset 7 to 18, no dilations): every output spreads its gradient evenly over its
 * window, which is a depthwise transposed convolution with ones after a division by the window's
 * count. The count differs at the border when padding is not counted.
 */
import { type BackwardContext, type GradientRule, unsupportedForm } from "../gradient-rule.ts";
import { padsOf, readWindow, type Window } from "./window.ts";

/** How many input places the window at `position` averages along one axis. */
function countAlong(
  window: Window,
  axis: number,
  position: number,
  input: number,
  includePad: boolean,
): number {
  if (includePad) return window.kernel[axis]!;
  const begin = position * window.strides[axis]! - window.padsBegin[axis]!;
  const end = begin + window.kernel[axis]!;
  return Math.min(end, input) - Math.max(begin, 0);
}

/** 1 / count for every output place, in shape [1, 1, …out]. */
function inverseCounts(
  window: Window,
  input: readonly number[],
  output: readonly number[],
  includePad: boolean,
): Float32Array {
  const total = output.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length: total }, (_, place) => {
    let rest = place;
    let count = 1;
    for (let axis = output.length - 1; axis >= 0; axis--) {
      const position = rest % output[axis]!;
      rest = Math.floor(rest / output[axis]!);
      count *= countAlong(window, axis, position, input[axis]!, includePad);
    }
    return 1 / count;
  });
}

function backward({ node, write, outputGradient }: BackwardContext) {
  const x = write.shapeOf(node.inputs[0]!);
  const y = write.shapeOf(node.outputs[0]!);
  const kernel = node.ints("kernel_shape", []);
  if (node.int("ceil_mode", 0) !== 0) throw unsupportedForm(node, "ceil_mode is 1");
  const window = readWindow(node, kernel, x.slice(2), y.slice(2));
  if (window.dilations.some((dilation) => dilation !== 1)) {
    throw unsupportedForm(node, "dilations are not 1");
  }
  const counts = inverseCounts(
    window,
    x.slice(2),
    y.slice(2),
    node.int("count_include_pad", 0) === 1,
  );
  const share = write.emit("Mul", [outputGradient, write.floats(counts, [1, 1, ...y.slice(2)])]);
  const channels = x[1]!;
  const outputPadding = kernel.map((size, axis) => {
    const reached = window.strides[axis]! * (y[axis + 2]! - 1) + size;
    return x[axis + 2]! + window.padsBegin[axis]! + window.padsEnd[axis]! - reached;
  });
  const spread = write.emit("ConvTranspose", [share, write.floats(1, [channels, 1, ...kernel])], {
    kernel_shape: { ints: kernel },
    strides: { ints: window.strides },
    pads: { ints: padsOf(window) },
    output_padding: { ints: outputPadding },
    group: { int: channels },
  });
  return [spread];
}

export const averagePoolGradient: GradientRule = {
  opType: "AveragePool",
  weightInputs: [],
  backward,
};
