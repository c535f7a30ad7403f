/**
 * MaxPool (opset 8 and later): the forward also yields the index of each maximum in the flattened
 * input; the gradient goes to those places. Windows that do not overlap have each place at most
 * once, so MaxUnpool writes them in one pass; otherwise ScatterElements adds them up.
 */
import {
  type BackwardContext,
  type ForwardContext,
  type GradientRule,
  type Saved,
  unsupportedForm,
} from "../gradient-rule.ts";

function forward({ node, write }: ForwardContext): Saved {
  if (node.int("storage_order", 0) !== 0) throw unsupportedForm(node, "storage_order is not 0");
  const indices = write.freshName("max_indices");
  const kernel = node.ints("kernel_shape", []);
  const ones = kernel.map(() => 1);
  write.emitNamed("MaxPool", [node.inputs[0]!], [node.outputs[0]!, indices], {
    kernel_shape: { ints: kernel },
    strides: { ints: node.ints("strides", ones) },
    dilations: { ints: node.ints("dilations", ones) },
    ceil_mode: { int: node.int("ceil_mode", 0) },
    auto_pad: { string: node.string("auto_pad", "NOTSET") },
    ...(node.string("auto_pad", "NOTSET") === "NOTSET"
      ? {
          pads: {
            ints: node.ints(
              "pads",
              [...kernel, ...kernel].map(() => 0),
            ),
          },
        }
      : {}),
  });
  return { indices };
}

function backward({ node, write, outputGradient, saved }: BackwardContext) {
  const indices = saved["indices"]!;
  const inputShape = write.shapeOf(node.inputs[0]!);
  const kernel = node.ints("kernel_shape", []);
  const ones = kernel.map(() => 1);
  const strides = node.ints("strides", ones);
  const isPlain =
    node.ints("dilations", ones).every((dilation) => dilation === 1) &&
    node.ints("pads", []).every((pad) => pad === 0) &&
    node.int("ceil_mode", 0) === 0 &&
    node.string("auto_pad", "NOTSET") === "NOTSET";
  if (isPlain && kernel.every((size, axis) => strides[axis]! >= size)) {
    return [
      write.emit("MaxUnpool", [outputGradient, indices, write.ints(inputShape)], {
        kernel_shape: { ints: kernel },
        strides: { ints: strides },
      }),
    ];
  }
  const total = inputShape.reduce((product, size) => product * size, 1);
  const flat = write.ints([-1]);
  const scattered = write.emit(
    "ScatterElements",
    [
      write.floats(0, [total]),
      write.emit("Reshape", [indices, flat]),
      write.emit("Reshape", [outputGradient, flat]),
    ],
    { axis: { int: 0 }, reduction: { string: "add" } },
  );
  return [write.emit("Reshape", [scattered, write.ints(inputShape)])];
}

export const maxPoolGradient: GradientRule = {
  opType: "MaxPool",
  weightInputs: [],
  forward,
  backward,
};
