/**
 * What one operator says about its own derivative. Reverse-mode differentiation walks the forward
 * graph backwards and asks the rule of each node for the gradients of its inputs, written as more
 * ONNX nodes; nothing outside a rule knows an operator by name.
 *
 * Shapes are static: the caller ran the forward graph once and says what it saw, because rules such
 * as Conv need them and dynamic shapes would fill the training graph with shape arithmetic.
 */
import { FleetError } from "../../shared/errors.ts";
import type { AttributeInputs } from "../onnx/build.ts";
import type { Node } from "../onnx/node.ts";

/** Writes nodes and constants of the training graph under names that are not in use. */
export interface GraphWriter {
  /** Adds a node with one output and returns the output's name. An empty input name is an absent one. */
  emit(opType: string, inputs: readonly string[], attributes?: AttributeInputs): string;
  /** Adds a node whose output names are given; used where forward names must be kept. */
  emitNamed(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes?: AttributeInputs,
  ): void;
  /** A float32 constant of the given shape; one value fills all of it. */
  floats(values: ArrayLike<number> | number, shape: readonly number[]): string;
  /** An int64 constant of shape [values.length]: axes, shapes, starts. */
  ints(values: readonly number[]): string;
  /** A name that nothing else has. */
  freshName(hint: string): string;
  /** The shape of a value of the forward graph, for the batch that is trained. */
  shapeOf(value: string): readonly number[];
}

/** Running statistics: an initializer that the training moves towards a value of each batch. */
export interface StateUpdate {
  /** The initializer, for instance `running_mean`. */
  readonly state: string;
  /** The value of the training graph that holds this batch's statistic, in the same shape. */
  readonly batchValue: string;
  /** new = keep · old + (1 − keep) · batch. */
  readonly keepFraction: number;
}

/** Values that a rule's training forward keeps for its backward, by a name of the rule's choice. */
export type Saved = Readonly<Record<string, string>>;

export interface ForwardContext {
  readonly node: Node;
  readonly write: GraphWriter;
  /** Declares a state that the training loop moves. */
  updateState(update: StateUpdate): void;
}

export interface BackwardContext {
  readonly node: Node;
  readonly write: GraphWriter;
  /** Gradient of the first output, in its shape. */
  readonly outputGradient: string;
  readonly saved: Saved;
  /** True when somebody needs the gradient of this input; a rule may skip the others. */
  wants(inputIndex: number): boolean;
}

export interface GradientRule {
  readonly opType: string;
  /** Inputs that are weights when they are float32 initializers. */
  readonly weightInputs: readonly number[];
  /** Replaces the node in the training graph. Without it the node is copied as it is. */
  readonly forward?: (context: ForwardContext) => Saved;
  /** Gradient per input, in the input's shape; undefined for inputs without one. */
  readonly backward: (context: BackwardContext) => readonly (string | undefined)[];
}

/** Refuses a form of an operator that its rule does not cover. */
export function unsupportedForm(node: Node, what: string): FleetError {
  return new FleetError(
    "onnx-unsupported",
    `${node.opType} ${node.name} cannot be trained: ${what}; freeze it or rewrite it first`,
    { details: { node: node.name, opType: node.opType } },
  );
}
