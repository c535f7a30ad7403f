/**
 * A weight as a matrix of one row per output channel, whichever way round its operator stores it, so
 * that strategies need no layout. A weight without a channel axis is one row.
 *
 * Invariant: `toLayout` undoes `weightRows`.
 */
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";

export interface WeightRows {
  /** float32 [channels, length], row-major; to be read only, it may be a view of the file. */
  readonly values: Float32Array;
  readonly channels: number;
  /** Products that are summed up for one output: of a Conv [in / group, kernel…], in that order. */
  readonly length: number;
}

/**
 * Mean of x · x^T over what a layer's rows are multiplied by at each output position of calibration
 * samples (`gram.ts`): float64 [length, length] row-major, one per group of a Conv, whose rows are the
 * next `channels / groups`.
 */
export type Gram = readonly Float64Array[];

/** values: float32 in the weight's own order; undefined `layout` makes it one row. */
export function weightRows(values: Float32Array, layout: ChannelLayout | undefined): WeightRows {
  if (layout === undefined) return { values, channels: 1, length: values.length };
  const channels = layout.groups * layout.channels;
  const length = layout.outer * layout.inner;
  if (layout.outer === 1) return { values, channels, length };
  const rows = new Float32Array(values.length);
  forEachElement(layout, (row, index) => {
    rows[row] = values[index]!;
  });
  return { values: rows, channels, length };
}

/** codes: [channels, length] as in `WeightRows`; the result is in the weight's own order. */
export function toLayout(codes: Int16Array, layout: ChannelLayout | undefined): Int16Array {
  if (layout === undefined || layout.outer === 1) return codes;
  const result = new Int16Array(codes.length);
  forEachElement(layout, (row, index) => {
    result[index] = codes[row]!;
  });
  return result;
}

/** Calls back with the position of each element among the rows and in the weight. */
function forEachElement(layout: ChannelLayout, visit: (row: number, index: number) => void): void {
  const { groups, outer, channels, inner } = layout;
  const length = outer * inner;
  let index = 0;
  for (let group = 0; group < groups; group++) {
    for (let part = 0; part < outer; part++) {
      for (let channel = 0; channel < channels; channel++) {
        const start = (group * channels + channel) * length + part * inner;
        for (let element = 0; element < inner; element++) visit(start + element, index++);
      }
    }
  }
}
