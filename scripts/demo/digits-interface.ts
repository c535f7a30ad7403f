/** What surrounds the digit classifier: how a raw image becomes its input, what its output means. */
import type { ModelInterface } from "../../shared/artifact/bundle.ts";

/** Pixels 0 … 255 become 0 … 1; the answer is one of ten digits. */
export const digitsInterface: ModelInterface = {
  inputs: [
    {
      tensor: "image",
      sample: { dtype: "uint8", shape: [28, 28] },
      steps: [
        { op: "cast", to: "float32" },
        { op: "affine", axis: 0, scale: [1 / 255], offset: [0] },
        { op: "reshape", shape: [1, 28, 28] },
      ],
    },
  ],
  output: {
    kind: "classification",
    tensor: "logits",
    scores: "softmax",
    labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  },
};
