/**
 * Which elements of its input a linear node multiplies by its weight for one output position: the
 * columns of im2col, made one position at a time, since all of them are kernel-size times the input.
 *
 * 1. Conv: x [n, in, h, w] or [n, in, w], weight [out, in / group, kernel…]: one position per output
 *    pixel; per group in / group · kernel elements, in the order of the weight's row; padding is 0.
 * 2. Gemm, MatMul: x [..., k]: one position per row, one group.
 *
 * Source: ONNX Conv (pads, strides, dilations, auto_pad) and Gemm, MatMul.
 */
import type { Node } from "../node.ts";

export interface InputPatches {
  readonly groups: number;
  /** Elements of one position in one group: the length of the weight's rows. */
  readonly length: number;
  /** Output positions of the whole batch. */
  readonly positions: number;
  /**
   * Writes what belongs to one position: element k of group g to
   * `target[offset + (g · length + k) · stride]`. data: the input, row-major.
   */
  readonly write: (
    data: Float32Array,
    position: number,
    target: Float32Array,
    place: { readonly offset: number; readonly stride: number },
  ) => void;
}

/** Case 1. Undefined for kernels of more than two dims and shapes that do not fit the weight. */
export function convPatches(
  node: Node,
  weightShape: readonly number[],
  inputShape: readonly number[],
): InputPatches | undefined {
  const dims = weightShape.length - 2;
  const groups = node.int("group", 1);
  if (dims < 1 || dims > 2 || inputShape.length !== weightShape.length) return undefined;
  const groupChannels = weightShape[1]!;
  if (groupChannels * groups !== inputShape[1]!) return undefined;
  const axes = weightShape.slice(2).map((kernel, axis) => {
    return slidingAxis(node, { axis, dims, kernel, size: inputShape[axis + 2]! });
  });
  // A signal is an image of one line.
  const [down, across] = dims === 2 ? (axes as [SlidingAxis, SlidingAxis]) : [singleStep, axes[0]!];
  if (down.outputs < 1 || across.outputs < 1) return undefined;
  const channelSize = down.size * across.size;
  const kernelSize = down.kernel * across.kernel;
  const outputSize = down.outputs * across.outputs;
  return {
    groups,
    length: groupChannels * kernelSize,
    positions: inputShape[0]! * outputSize,
    write(data, position, target, { offset, stride }) {
      const sample = Math.floor(position / outputSize);
      const pixel = position % outputSize;
      const top = Math.floor(pixel / across.outputs) * down.stride - down.padding;
      const left = (pixel % across.outputs) * across.stride - across.padding;
      let place = offset;
      for (let channel = 0; channel < groups * groupChannels; channel++) {
        const start = (sample * groups * groupChannels + channel) * channelSize;
        for (let tap = 0; tap < kernelSize; tap++) {
          const y = top + Math.floor(tap / across.kernel) * down.dilation;
          const x = left + (tap % across.kernel) * across.dilation;
          const isInside = y >= 0 && y < down.size && x >= 0 && x < across.size;
          target[place] = isInside ? data[start + y * across.size + x]! : 0;
          place += stride;
        }
      }
    },
  };
}

/** Case 2. Undefined when the rows of the input do not fit the weight. */
export function rowPatches(
  length: number,
  inputShape: readonly number[],
): InputPatches | undefined {
  if (inputShape.at(-1) !== length) return undefined;
  return {
    groups: 1,
    length,
    positions: inputShape.slice(0, -1).reduce((all, dim) => all * dim, 1),
    write(data, position, target, { offset, stride }) {
      const start = position * length;
      for (let at = 0; at < length; at++) target[offset + at * stride] = data[start + at]!;
    },
  };
}

interface SlidingAxis {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** At the beginning. */
  readonly padding: number;
  readonly outputs: number;
}

const singleStep: SlidingAxis = {
  size: 1,
  kernel: 1,
  stride: 1,
  dilation: 1,
  padding: 0,
  outputs: 1,
};

function slidingAxis(
  node: Node,
  { axis, dims, kernel, size }: { axis: number; dims: number; kernel: number; size: number },
): SlidingAxis {
  const stride = node.ints("strides", undefined)?.[axis] ?? 1;
  const dilation = node.ints("dilations", undefined)?.[axis] ?? 1;
  const reach = (kernel - 1) * dilation + 1;
  const mode = node.string("auto_pad", "NOTSET");
  if (mode === "SAME_UPPER" || mode === "SAME_LOWER") {
    const outputs = Math.ceil(size / stride);
    const total = Math.max((outputs - 1) * stride + reach - size, 0);
    const padding = mode === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
    return { size, kernel, stride, dilation, padding, outputs };
  }
  const pads = mode === "VALID" ? undefined : node.ints("pads", undefined);
  const padding = pads?.[axis] ?? 0;
  const padded = size + padding + (pads?.[axis + dims] ?? 0);
  const outputs = Math.floor((padded - reach) / stride) + 1;
  return { size, kernel, stride, dilation, padding, outputs };
}
