/**
 * What the passes need to know of an operator. Everything that differs between operators is said
 * here, in one file per family, so that no pass asks for an operator by name.
 *
 * A missing property means the default that its comment states; an operator without any entry is
 * handled as one that nothing is known of.
 */
import type { DataType } from "../data-type.ts";
import type { Graph } from "../graph.ts";
import type { Node } from "../node.ts";
import type { InputPatches } from "./input-patches.ts";

/** Element type of one of the node's inputs, undefined where it is not known. */
export type InputType = (index: number) => DataType | undefined;

/** Rank of one of the node's inputs, undefined where it is not known. */
export type InputRank = (index: number) => number | undefined;

/**
 * A weight seen as [groups, outer, channels, inner] in row-major order; output channel
 * `group · channels + channel` is made from the elements of that group and channel.
 */
export interface ChannelLayout {
  readonly groups: number;
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
  /** The axis of the weight that counts output channels. */
  readonly axis: number;
}

/** An axis of channels and how many there are; -1 is the last axis. */
export interface ChannelAxis {
  readonly axis: number;
  readonly count: number;
}

export interface WeightFact {
  readonly input: number;
  /** Position of the bias, one value per output channel; absent when the operator has none. */
  readonly bias?: number;
  /** The output counts its channels along its last axis; by default along axis 1. */
  readonly channelsLast?: boolean;
  /** Elements of the weight that each input channel has for one output; 1 by default. */
  readonly kernelPositions?: (weightShape: readonly number[]) => number;
  /** How input 0 counts the channels that are multiplied. */
  readonly inputChannels: (node: Node, weightShape: readonly number[]) => ChannelAxis;
  /** Undefined when this form of the node has no such layout. */
  readonly layout: (node: Node, weightShape: readonly number[]) => ChannelLayout | undefined;
  /**
   * Which elements of input 0 meet the weight at each output position, in the order of the layout's
   * [outer, inner]. Undefined when the shapes do not fit, and for operators that it makes no sense for.
   */
  readonly patches?: (
    node: Node,
    weightShape: readonly number[],
    inputShape: readonly number[],
  ) => InputPatches | undefined;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/**
 * How a node takes part in static int8, from what onnxruntime 1.30 fuses on x86 when it stands
 * between DequantizeLinear and QuantizeLinear.
 */
export type QuantizationRole =
  /** Input 0 times a constant weight. `refusal` says why this form of it stays float. */
  | {
      readonly kind: "linear";
      readonly refusal?: (node: Node, graph: Graph) => string | undefined;
      /** Without QuantizeLinear behind it the node is fast too and keeps float accuracy. */
      readonly floatOutput: boolean;
      /** With two activations instead of a weight it is computed like other operators. */
      readonly multipliesActivations?: boolean;
      /** Operators behind a float output that would undo the fusion. */
      readonly floatOutputSpoiledBy?: readonly string[];
      /** Fuses only when the weight's DequantizeLinear names its zero point, be it zero. */
      readonly needsWeightZeroPoint?: boolean;
    }
  /** All inputs are 8-bit, the output has parameters of its own; `range` when it is always the same. */
  | {
      readonly kind: "computed";
      readonly range?: Bounds;
      /** Default: all inputs hold values. */
      readonly dataInputs?: readonly number[];
    }
  /** Moves 8-bit values about: the output has the parameters of input 0. */
  | { readonly kind: "moved" }
  /** Disappears in the QuantizeLinear behind it when that one's range ends where the bounds are. */
  | {
      readonly kind: "absorbed";
      readonly bounds: (node: Node, graph: Graph) => Bounds | undefined;
    };

/** Whether rows stay by themselves in a node whose output has this rank. */
export type RowRule = (node: Node, rank: number) => boolean;

export interface OpFact {
  readonly opType: string;
  readonly weight?: WeightFact;
  /** Default: every output has the type of input 0. */
  readonly outputTypes?: (node: Node, inputType: InputType) => readonly (DataType | undefined)[];
  /** Rank of output 0. Default: not known. */
  readonly outputRank?:
    | ((node: Node, graph: Graph, inputRank: InputRank) => number | undefined)
    | undefined;
  /** Default: stays float in static int8. */
  readonly quantization?: QuantizationRole;
  /** Half precision: true keeps the whole node in float32. */
  readonly keepFloat32?: boolean;
  /**
   * True where each row along the last axis is made of the same rows of the inputs alone, whatever the
   * dims before are; `rank` is that of the output. Default: not so.
   */
  readonly keepsRows?: RowRule;
  /** Works on any element type and says nothing of the values: input 0 needs no conversion. */
  readonly acceptsAnyType?: boolean;
  /** Half precision: inputs that must stay float32. */
  readonly float32Inputs?: readonly number[];
}

/** Computed element by element. */
export const rowByRow: RowRule = () => true;

/** Computed along one axis, by default the last. */
export const alongLastAxis: RowRule = (node, rank) => [-1, rank - 1].includes(node.int("axis", -1));

/** The output has as many dims as input 0. */
export const sameRank: OpFact["outputRank"] = (_node, _graph, inputRank) => inputRank(0);

/** The output has as many dims as the input with the most (ONNX, "Broadcasting in ONNX"). */
export const broadcastRank: OpFact["outputRank"] = (node, _graph, inputRank) => {
  const ranks = node.inputs.map((_name, index) => inputRank(index));
  return ranks.every((rank) => rank !== undefined) ? Math.max(...ranks) : undefined;
};
