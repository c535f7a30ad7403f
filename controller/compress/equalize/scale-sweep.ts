/** A sweep over a graph that finds where factors may travel, as rules see it. */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ConstantEdit, GateEdit, LinearEdit, ScaledValue } from "./scaled-value.ts";

/** What a rule may look at and write down. */
export interface ScaleSweep {
  readonly graph: Graph;
  /** Ranks of values, where they are known. */
  readonly ranks: ReadonlyMap<string, number>;
  readonly throughGates: boolean;
  readonly valueOf: (name: string) => ScaledValue | undefined;
  readonly set: (name: string, value: ScaledValue) => void;
  /** A value with variables of its own. */
  readonly fresh: (channels: number, axisFromEnd: number) => ScaledValue;
  /** Lets two values with as many channels have the same factors. */
  readonly join: (left: ScaledValue, right: ScaledValue) => void;
  /** Keeps the factors of a value at 1. */
  readonly pin: (value: ScaledValue | undefined) => void;
  readonly linear: (edit: LinearEdit) => void;
  readonly constant: (edit: ConstantEdit) => void;
  readonly gate: (edit: GateEdit) => void;
  /** Says that the node makes its output from a scale of its own. */
  readonly normalisation: (node: Node) => void;
}
