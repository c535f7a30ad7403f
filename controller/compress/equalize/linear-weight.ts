/**
 * A constant weight seen element by element with the output channel and the input feature that each one
 * connects, whichever operator it belongs to.
 *
 * 1. Channels along axis 0, [out, in/group, kernel…] (Conv, Gemm with transB): the features of an
 *    output are those of its group.
 * 2. Channels along axis 1, [in, out/group, kernel…] (ConvTranspose, Gemm, MatMul): one row a feature.
 */
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";

export interface WeightShape {
  readonly outputs: number;
  readonly features: number;
  /** Calls back for each element in the order of the data. */
  readonly forEach: (visit: (output: number, feature: number, index: number) => void) => void;
}

export function weightShape(
  node: Node,
  layout: ChannelLayout,
  shape: readonly number[],
): WeightShape {
  return layout.axis === 0 ? byOutput(node, shape) : byFeature(layout);
}

function byOutput(node: Node, shape: readonly number[]): WeightShape {
  const outputs = shape[0]!;
  const perGroup = shape[1]!;
  const kernel = shape.slice(2).reduce((product, dim) => product * dim, 1);
  const groups = node.int("group", 1);
  const outputsPerGroup = outputs / groups;
  return {
    outputs,
    features: perGroup * groups,
    forEach(visit) {
      let index = 0;
      for (let output = 0; output < outputs; output++) {
        const first = Math.floor(output / outputsPerGroup) * perGroup;
        for (let feature = first; feature < first + perGroup; feature++) {
          for (let tap = 0; tap < kernel; tap++) visit(output, feature, index++);
        }
      }
    },
  };
}

function byFeature({ groups, outer, channels, inner }: ChannelLayout): WeightShape {
  return {
    outputs: groups * channels,
    features: groups * outer,
    forEach(visit) {
      let index = 0;
      for (let feature = 0; feature < groups * outer; feature++) {
        const first = Math.floor(feature / outer) * channels;
        for (let output = first; output < first + channels; output++) {
          for (let tap = 0; tap < inner; tap++) visit(output, feature, index++);
        }
      }
    },
  };
}

/** A weight with the taps of its kernel taken together. */
export interface WeightTable {
  readonly outputs: number;
  readonly features: number;
  /** Features that an output reads: from `firstFeature(output)` on. */
  readonly perOutput: number;
  readonly firstFeature: (output: number) => number;
  /** Elements between an output and a feature. */
  readonly taps: number;
  /** Largest magnitude, and sum of squares, of the elements between an output and a feature: [outputs, perOutput]. */
  readonly magnitudes: Float32Array;
  readonly powers: Float32Array;
}

export function weightTable(
  node: Node,
  layout: ChannelLayout,
  shape: readonly number[],
  values: Float32Array,
): WeightTable {
  const { outputs, features, forEach } = weightShape(node, layout, shape);
  const groups = node.int("group", 1);
  const perOutput = features / groups;
  const firstFeature = (output: number): number =>
    Math.floor(output / (outputs / groups)) * perOutput;
  const magnitudes = new Float32Array(outputs * perOutput);
  const powers = new Float32Array(outputs * perOutput);
  forEach((output, feature, index) => {
    const at = output * perOutput + feature - firstFeature(output);
    const value = values[index]!;
    magnitudes[at] = Math.max(magnitudes[at]!, Math.abs(value));
    powers[at]! += value * value;
  });
  const taps = values.length / (outputs * perOutput);
  return { outputs, features, perOutput, firstFeature, taps, magnitudes, powers };
}
