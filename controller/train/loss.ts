/** What a training minimises: how a loss and its gradient are written behind a model's output. */
import type { GraphWriter } from "./gradient-rule.ts";

/** A float32 value of fixed shape. */
export interface ShapedValue {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface BuiltLoss {
  /** Inputs that the training graph takes besides the model's own. */
  readonly inputs: readonly ShapedValue[];
  /** The scalar that falls. */
  readonly loss: string;
  /** Its gradient by the model's output, in the output's shape. */
  readonly gradient: string;
}

export interface Loss {
  readonly name: string;
  /** Writes the loss of one model output. */
  build(write: GraphWriter, output: ShapedValue): BuiltLoss;
}
