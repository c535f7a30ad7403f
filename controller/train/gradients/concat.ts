/** Concat: each input receives its own slice of the gradient along the axis. */
import type { GradientRule } from "../gradient-rule.ts";

export const concatGradient: GradientRule = {
  opType: "Concat",
  weightInputs: [],
  backward({ node, write, outputGradient, wants }) {
    const rank = write.shapeOf(node.outputs[0]!).length;
    const axis = (node.int("axis", 0) + rank) % rank;
    let start = 0;
    return node.inputs.map((input, index) => {
      const from = start;
      start += write.shapeOf(input)[axis]!;
      if (!wants(index)) return undefined;
      return write.emit("Slice", [
        outputGradient,
        write.ints([from]),
        write.ints([start]),
        write.ints([axis]),
      ]);
    });
  },
};
