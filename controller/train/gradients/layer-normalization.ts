/**
 * LayerNormalization over the last axes (ONNX opset 17): the backward part reads the operator's own outputs
 * `Mean` and `InvStdDev`.
 *
 * With x̂ = (x − mean) · invStdDev and g = dL/dy: dbias = Σ g and dscale = Σ g·x̂ over the leading axes; with
 * h = g · scale: dx = invStdDev · (h − mean(h) − x̂ · mean(h·x̂)), means over the normalised axes.
 *
 * Shapes: x [outer…, inner…], scale and bias [inner…], Mean and InvStdDev [outer…, 1…], all float32.
 */
import type { BackwardContext, ForwardContext, GradientRule, Saved } from "../gradient-rule.ts";
import { sumToShape } from "./broadcast.ts";

function forward({ node, write }: ForwardContext): Saved {
  const mean = write.freshName("mean");
  const inverse = write.freshName("inverse");
  write.emitNamed("LayerNormalization", node.inputs, [node.outputs[0]!, mean, inverse], {
    axis: { int: node.int("axis", -1) },
    epsilon: { float: node.float("epsilon", 1e-5) },
  });
  return { mean, inverse };
}

function backward({ node, write, outputGradient, saved, wants }: BackwardContext) {
  const [x, scale, bias] = node.inputs as [string, string, string | undefined];
  const shape = write.shapeOf(x);
  const axis = node.int("axis", -1);
  const first = axis < 0 ? axis + shape.length : axis;
  const axes = write.ints(shape.map((_, at) => at).slice(first));
  const share = write.floats(
    1 / shape.slice(first).reduce((product, size) => product * size, 1),
    [],
  );
  const mean = (value: string): string =>
    write.emit("Mul", [write.emit("ReduceSum", [value, axes], { keepdims: { int: 1 } }), share]);
  const centered = write.emit("Sub", [x, saved["mean"]!]);
  const normalised = write.emit("Mul", [centered, saved["inverse"]!]);

  const inputGradient = (): string => {
    const scaled = write.emit("Mul", [outputGradient, scale]);
    const slope = mean(write.emit("Mul", [scaled, normalised]));
    const direct = write.emit("Sub", [scaled, mean(scaled)]);
    const throughVariance = write.emit("Mul", [normalised, slope]);
    return write.emit("Mul", [write.emit("Sub", [direct, throughVariance]), saved["inverse"]!]);
  };
  const scaleGradient = (): string =>
    sumToShape(write, write.emit("Mul", [outputGradient, normalised]), shape, write.shapeOf(scale));
  return [
    wants(0) ? inputGradient() : undefined,
    wants(1) ? scaleGradient() : undefined,
    wants(2) ? sumToShape(write, outputGradient, shape, write.shapeOf(bias!)) : undefined,
  ];
}

export const layerNormalizationGradient: GradientRule = {
  opType: "LayerNormalization",
  weightInputs: [1, 2],
  forward,
  backward,
};
