/**
 * BatchNormalization in batch mode (opset 9, 14, 15), lowered to primitives, because the inference
 * runtime has no gradient for the operator itself. One backward rule for the whole of it needs
 * fewer passes over the activations than differentiating each primitive.
 *
 * Source: Ioffe and Szegedy 2015, §3. Statistics are over all axes but 1, the variance is the
 * population's (ONNX opset 15 BatchNormalization: running_var uses population variance).
 * ReduceSum × 1/M stands for ReduceMean, whose axes became an input only at opset 18.
 *
 * Shapes: x [N, C, …], scale, bias, running mean and variance [C], all float32.
 */
import type { BackwardContext, ForwardContext, GradientRule, Saved } from "../gradient-rule.ts";

interface Axes {
  /** All but the channel axis. */
  readonly reduced: readonly number[];
  /** [1, C, 1, …] */
  readonly perChannel: readonly number[];
  /** Values per channel. */
  readonly count: number;
}

function axesOf(shape: readonly number[]): Axes {
  const reduced = shape.map((_, axis) => axis).filter((axis) => axis !== 1);
  return {
    reduced,
    perChannel: shape.map((size, axis) => (axis === 1 ? size : 1)),
    count: reduced.reduce((product, axis) => product * shape[axis]!, 1),
  };
}

function forward({ node, write, updateState }: ForwardContext): Saved {
  const [x, scale, bias, runningMean, runningVariance] = node.inputs as [
    string,
    string,
    string,
    string,
    string,
  ];
  const { reduced, perChannel, count } = axesOf(write.shapeOf(x));
  const axes = write.ints(reduced);
  const wide = write.ints(perChannel);
  const flat = write.ints([perChannel[1]!]);
  const share = write.floats(1 / count, []);
  const mean = (value: string): string =>
    write.emit("Mul", [write.emit("ReduceSum", [value, axes], { keepdims: { int: 1 } }), share]);

  const batchMean = mean(x);
  const centered = write.emit("Sub", [x, batchMean]);
  const variance = mean(write.emit("Mul", [centered, centered]));
  const epsilon = write.floats(node.float("epsilon", 1e-5), []);
  const deviation = write.emit("Sqrt", [write.emit("Add", [variance, epsilon])]);
  const inverse = write.emit("Reciprocal", [deviation]);
  const gain = write.emit("Mul", [write.emit("Reshape", [scale, wide]), inverse]);
  const scaled = write.emit("Mul", [centered, gain]);
  write.emitNamed("Add", [scaled, write.emit("Reshape", [bias, wide])], [node.outputs[0]!]);

  const keepFraction = node.float("momentum", 0.9);
  const asState = (value: string): string => write.emit("Reshape", [value, flat]);
  updateState({ state: runningMean, batchValue: asState(batchMean), keepFraction });
  updateState({ state: runningVariance, batchValue: asState(variance), keepFraction });
  return { centered, inverse, gain };
}

/**
 * With g = dL/dy: dbias = Σg; dscale = Σ(g·centered)·inverse;
 * dx = gain · (g − Σg/M − centered · inverse² · Σ(g·centered)/M).
 */
function backward({ node, write, outputGradient, saved, wants }: BackwardContext) {
  const { reduced, perChannel, count } = axesOf(write.shapeOf(node.inputs[0]!));
  const axes = write.ints(reduced);
  const flat = write.ints([perChannel[1]!]);
  const share = write.floats(1 / count, []);
  const sum = (value: string): string =>
    write.emit("ReduceSum", [value, axes], { keepdims: { int: 1 } });
  const biasGradient = sum(outputGradient);
  const product = sum(write.emit("Mul", [outputGradient, saved["centered"]!]));
  const scaleGradient = write.emit("Mul", [product, saved["inverse"]!]);
  const asVector = (value: string): string => write.emit("Reshape", [value, flat]);

  const inputGradient = (): string => {
    const gainShare = write.emit("Mul", [saved["gain"]!, share]);
    const slope = write.emit("Mul", [
      write.emit("Mul", [gainShare, saved["inverse"]!]),
      scaleGradient,
    ]);
    const offset = write.emit("Mul", [gainShare, biasGradient]);
    const direct = write.emit("Mul", [outputGradient, saved["gain"]!]);
    const throughVariance = write.emit("Mul", [saved["centered"]!, slope]);
    return write.emit("Sub", [write.emit("Sub", [direct, throughVariance]), offset]);
  };
  return [
    wants(0) ? inputGradient() : undefined,
    wants(1) ? asVector(scaleGradient) : undefined,
    wants(2) ? asVector(biasGradient) : undefined,
  ];
}

export const batchNormalizationGradient: GradientRule = {
  opType: "BatchNormalization",
  weightInputs: [1, 2],
  forward,
  backward,
};
