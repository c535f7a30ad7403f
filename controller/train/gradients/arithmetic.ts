/**
 * Add, Sub, Mul and Div with broadcasting: the gradient of each operand is written in the output's
 * shape and then summed to the operand's.
 */
import type { BackwardContext, GradientRule, GraphWriter } from "../gradient-rule.ts";
import { sumToShape } from "./broadcast.ts";

interface Operands {
  readonly write: GraphWriter;
  /** Gradient of the output. */
  readonly g: string;
  readonly a: string;
  readonly b: string;
  /** The output. */
  readonly y: string;
}

function arithmetic(
  opType: string,
  gradientOfA: (operands: Operands) => string,
  gradientOfB: (operands: Operands) => string,
): GradientRule {
  return {
    opType,
    weightInputs: [0, 1],
    backward(context: BackwardContext) {
      const { node, write, outputGradient } = context;
      const [a, b] = node.inputs as [string, string];
      const y = node.outputs[0]!;
      const operands = { write, g: outputGradient, a, b, y };
      const outputShape = write.shapeOf(y);
      return [
        context.wants(0)
          ? sumToShape(write, gradientOfA(operands), outputShape, write.shapeOf(a))
          : undefined,
        context.wants(1)
          ? sumToShape(write, gradientOfB(operands), outputShape, write.shapeOf(b))
          : undefined,
      ];
    },
  };
}

export const addGradient = arithmetic(
  "Add",
  ({ g }) => g,
  ({ g }) => g,
);
export const subGradient = arithmetic(
  "Sub",
  ({ g }) => g,
  ({ write, g }) => write.emit("Neg", [g]),
);
export const mulGradient = arithmetic(
  "Mul",
  ({ write, g, b }) => write.emit("Mul", [g, b]),
  ({ write, g, a }) => write.emit("Mul", [g, a]),
);
/** y = a / b: da = g / b, db = −g · y / b. */
export const divGradient = arithmetic(
  "Div",
  ({ write, g, b }) => write.emit("Div", [g, b]),
  ({ write, g, y, b }) => {
    const scaled = write.emit("Div", [write.emit("Mul", [g, y]), b]);
    return write.emit("Neg", [scaled]);
  },
);
