/**
 * Operators that only view their input under another shape: Flatten, Reshape, Squeeze, Unsqueeze,
 * Identity. The gradient takes the input's shape back.
 */
import type { BackwardContext, GradientRule } from "../gradient-rule.ts";

function backward({ node, write, outputGradient }: BackwardContext) {
  const shape = write.shapeOf(node.inputs[0]!);
  return [write.emit("Reshape", [outputGradient, write.ints(shape)])];
}

function sameValues(opType: string): GradientRule {
  return { opType, weightInputs: [], backward };
}

export const flattenGradient = sameValues("Flatten");
export const reshapeGradient = sameValues("Reshape");
export const squeezeGradient = sameValues("Squeeze");
export const unsqueezeGradient = sameValues("Unsqueeze");

export const identityGradient: GradientRule = {
  opType: "Identity",
  weightInputs: [],
  backward: ({ outputGradient }) => [outputGradient],
};
