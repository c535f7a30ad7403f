/**
 * QLinearConv: x uint8 [N, C, H, W], w int8 or uint8 [O, C/groups, kH, kW], bias int32 [O] gives codes
 * [N, O, H', W']; one spatial axis likewise.
 *
 * 1. One input and one output channel per group (depthwise): products are widened, so the sums are exact
 *    on every processor.
 * 2. Otherwise the windows become rows ordered (kH, kW, channel), padded with x's zero point, and a
 *    matrix product gives the sums: neighbours in that order are the pairs that saturate.
 * Then, per output channel: scale = x_scale · w_scale / y_scale, and requantization.
 *
 * Source: onnxruntime 1.30, qlinearconv.cc (ReorderFilter, Im2col NHWC, ComputeOutputScale), convsym.cpp,
 * qdwconv.cpp.
 */
import { tensorData, tensorShape } from "../../../onnx/tensor.ts";
import { type CodeArray, type PackedWeights, packWeights } from "../products.ts";
import { type CodeParameters, codeArray, coder, outputScale } from "../requantize.ts";
import { biasOf, elementsOf, rowCodes, type Step, type StepContext } from "../step.ts";
import type { Unit } from "../unit.ts";
import { shiftedSums, transposed } from "./matrix.ts";
import { outputSpatial, type Windows, windowsOf } from "./windows.ts";

interface Filter {
  readonly outputs: number;
  readonly groups: number;
  /** Input channels of a group. */
  readonly channels: number;
  readonly kernel: readonly number[];
  /** Codes in the file's order. */
  readonly codes: CodeArray;
  readonly zeroPoint: number;
  /** One matrix per group, [outputs of the group, kH · kW · channels]; none when depthwise. */
  readonly packed: readonly PackedWeights[];
}

export function convStep(context: StepContext, unit: Unit): Step | undefined {
  const [data, weight] = unit.operands;
  const filter = filterOf(context, unit);
  const coded = unit.coded;
  if (data === undefined || weight === undefined || filter === undefined) return undefined;
  if (coded === undefined) return undefined;
  const bias = biasOf(context, unit);
  const inputScale = data.scales[0]!;
  const scales = Float32Array.from({ length: filter.outputs }, (_, output) =>
    outputScale(inputScale, weight.scales[weight.scales.length === 1 ? 0 : output]!, coded.scale),
  );
  return {
    inputs: [data.name],
    outputs: [unit.output],
    run([value]) {
      const [batch, channels, ...spatial] = value!.shape as [number, number, ...number[]];
      const windows = windowsOf(unit.node, spatial, filter.kernel)!;
      const { codes, zeroPoint } = rowCodes(value!, data, unit.isShifted);
      const image = elementsOf(spatial);
      const outputImage = elementsOf(windows.output);
      const shape = [batch, filter.outputs, ...outputSpatial(windows, spatial.length)];
      const result = codeArray(coded.type, elementsOf(shape));
      for (let sample = 0; sample < batch; sample++) {
        const start = sample * channels * image;
        const pixels = codes.subarray(start, start + channels * image) as CodeArray;
        const sums =
          filter.packed.length === 0
            ? depthwiseSums(pixels, zeroPoint, filter, windows)
            : productSums(pixels, zeroPoint, filter, windows);
        const target = sample * filter.outputs * outputImage;
        requantizeChannels({ sums, bias, scales, coded, result, target });
      }
      return [{ type: coded.type, shape, data: result }];
    },
  };
}

/** The matrices that a convolution's codes are multiplied by; none when it is depthwise. */
export function convProducts(context: StepContext, unit: Unit): readonly PackedWeights[] {
  return filterOf(context, unit)?.packed ?? [];
}

function filterOf({ graph, processor }: StepContext, { node, operands }: Unit): Filter | undefined {
  const weight = operands[1];
  const tensor = weight === undefined ? undefined : graph.constant(weight.name);
  if (weight === undefined || tensor === undefined) return undefined;
  const [outputs, channels, ...kernel] = tensorShape(tensor) as [number, number, ...number[]];
  if (kernel.length < 1 || kernel.length > 2) return undefined;
  const groups = node.int("group", 1);
  const codes = tensorData(tensor) as CodeArray;
  const perGroup = outputs / groups;
  const filter = { outputs, groups, channels, kernel, codes, zeroPoint: weight.zeroPoint };
  if (channels === 1 && perGroup === 1) return { ...filter, packed: [] };
  const depth = channels * elementsOf(kernel);
  const ordered = channelsLast(codes, outputs, channels, elementsOf(kernel));
  const packed = Array.from({ length: groups }, (_, group) => {
    const part = ordered.subarray(group * perGroup * depth, (group + 1) * perGroup * depth);
    return packWeights(part as CodeArray, perGroup, depth, processor);
  });
  return { ...filter, packed };
}

/** [outputs, channels, size] as [outputs, size, channels]. */
function channelsLast(
  codes: CodeArray,
  outputs: number,
  channels: number,
  size: number,
): CodeArray {
  const ordered = codes.slice() as CodeArray;
  for (let output = 0; output < outputs; output++) {
    const start = output * channels * size;
    for (let channel = 0; channel < channels; channel++) {
      for (let at = 0; at < size; at++) {
        ordered[start + at * channels + channel] = codes[start + channel * size + at]!;
      }
    }
  }
  return ordered;
}

/** Sums [outputs, output pixels] of one sample. */
function productSums(
  pixels: CodeArray,
  zeroPoint: number,
  { outputs, groups, packed, zeroPoint: weightZero }: Filter,
  windows: Windows,
): Int32Array {
  const count = elementsOf(windows.output);
  const perGroup = outputs / groups;
  const sums = new Int32Array(outputs * count);
  packed.forEach((weights, group) => {
    const channels = pixels.length / elementsOf(windows.input) / groups;
    const rows = windowRows(pixels, zeroPoint, { first: group * channels, channels }, windows);
    const product = shiftedSums(rows, count, weights, { zeroPoint, weightZero });
    sums.set(transposed(product, count, perGroup), group * perGroup * count);
  });
  return sums;
}

/** The windows of one group's channels as rows [output pixels, kH · kW · channels]. */
function windowRows(
  pixels: CodeArray,
  zeroPoint: number,
  { first, channels }: { readonly first: number; readonly channels: number },
  windows: Windows,
): CodeArray {
  const { input, kernel, strides, dilations, padding, output } = windows;
  const [height, width] = input;
  const depth = kernel[0] * kernel[1] * channels;
  const length = output[0] * output[1] * depth;
  const rows = pixels instanceof Int8Array ? new Int8Array(length) : new Uint8Array(length);
  rows.fill(zeroPoint);
  for (let y = 0; y < output[0]; y++) {
    for (let x = 0; x < output[1]; x++) {
      const row = (y * output[1] + x) * depth;
      for (let ky = 0; ky < kernel[0]; ky++) {
        const inY = y * strides[0] - padding[0] + ky * dilations[0];
        if (inY < 0 || inY >= height) continue;
        for (let kx = 0; kx < kernel[1]; kx++) {
          const inX = x * strides[1] - padding[1] + kx * dilations[1];
          if (inX < 0 || inX >= width) continue;
          const to = row + (ky * kernel[1] + kx) * channels;
          const from = (first * height + inY) * width + inX;
          for (let channel = 0; channel < channels; channel++) {
            rows[to + channel] = pixels[from + channel * height * width]!;
          }
        }
      }
    }
  }
  return rows;
}

/** Sums [channels, output pixels] of one sample, each channel with its own filter. */
function depthwiseSums(
  pixels: CodeArray,
  zeroPoint: number,
  { outputs, codes, zeroPoint: weightZero }: Filter,
  windows: Windows,
): Int32Array {
  const { input, kernel, strides, dilations, padding, output } = windows;
  const [height, width] = input;
  const sums = new Int32Array(outputs * output[0] * output[1]);
  let at = 0;
  for (let channel = 0; channel < outputs; channel++) {
    const from = channel * height * width;
    const filterAt = channel * kernel[0] * kernel[1];
    for (let y = 0; y < output[0]; y++) {
      for (let x = 0; x < output[1]; x++) {
        let sum = 0;
        for (let ky = 0; ky < kernel[0]; ky++) {
          const inY = y * strides[0] - padding[0] + ky * dilations[0];
          if (inY < 0 || inY >= height) continue;
          for (let kx = 0; kx < kernel[1]; kx++) {
            const inX = x * strides[1] - padding[1] + kx * dilations[1];
            if (inX < 0 || inX >= width) continue;
            const weight = codes[filterAt + ky * kernel[1] + kx]! - weightZero;
            sum += (pixels[from + inY * width + inX]! - zeroPoint) * weight;
          }
        }
        sums[at++] = sum;
      }
    }
  }
  return sums;
}

/** Sums [channels, pixels] plus bias to codes. */
function requantizeChannels(work: {
  readonly sums: Int32Array;
  readonly bias: Int32Array | undefined;
  readonly scales: Float32Array;
  readonly coded: CodeParameters;
  readonly result: CodeArray;
  readonly target: number;
}): void {
  const { sums, bias, scales, result, target } = work;
  const encode = coder(work.coded);
  const count = sums.length / scales.length;
  for (let channel = 0; channel < scales.length; channel++) {
    const scale = scales[channel]!;
    const add = bias?.[channel] ?? 0;
    for (let at = channel * count; at < (channel + 1) * count; at++) {
      const sum = Math.fround((sums[at]! + add) | 0);
      result[target + at] = encode(Math.fround(sum * scale));
    }
  }
}
