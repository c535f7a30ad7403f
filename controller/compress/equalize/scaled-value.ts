/** Values whose channels can be scaled, and what has to be edited when they are. */
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout, WeightFact } from "../../onnx/ops/op-fact.ts";

/** A value whose channels can be scaled. */
export interface ScaledValue {
  /** The variable of each channel. */
  readonly variables: Int32Array;
  /** Position of the channel axis, counted from the last axis, which is 1. */
  readonly axisFromEnd: number;
  /**
   * Whether the axis counts more than channels: `blocks` when each channel takes a run of neighbours
   * (Flatten of [N, C, H, W]), `cycles` when the channels repeat (Flatten of [N, H, W, C]).
   */
  readonly spread: "none" | "blocks" | "cycles";
}

/** A node with constant weight: its input, its output, or both have factors. */
export interface LinearEdit {
  readonly node: Node;
  readonly fact: WeightFact;
  readonly layout: ChannelLayout;
  readonly input: ScaledValue | undefined;
  readonly output: ScaledValue | undefined;
}

/** A constant operand, or parameter, to be divided by the factors of `value`. */
export interface ConstantEdit {
  readonly node: Node;
  readonly input: number;
  readonly value: ScaledValue;
}

/** A gate that must go on reading the unscaled value: `node` reads it as input `input`. */
export interface GateEdit {
  readonly node: Node;
  readonly input: number;
  readonly value: ScaledValue;
  /** From `node` to the last step before the product; empty when `node` is the whole gate. */
  readonly steps: readonly Node[];
  /** The Mul that multiplies with x, or the whole gate. */
  readonly product: Node;
}

/** The channel that a position along the axis belongs to; `length` is the length of the axis. */
export function channelAt(value: ScaledValue, position: number, length: number): number {
  const channels = value.variables.length;
  if (value.spread === "blocks") return Math.floor(position / (length / channels));
  return value.spread === "cycles" ? position % channels : position;
}

/** Whether an axis of this length can hold the value's channels. */
export function fitsAxis(value: ScaledValue, length: number): boolean {
  const channels = value.variables.length;
  return value.spread === "none" ? length === channels : length % channels === 0;
}

/** The variable of each position along an axis of this length. */
export function spreadOver(value: ScaledValue, length: number): Int32Array {
  return Int32Array.from({ length }, (_, at) => value.variables[channelAt(value, at, length)]!);
}
