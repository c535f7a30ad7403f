/**
 * Averages of codes: x [N, C, H, W] gives codes [N, C, H', W'], or [N, C, 1, 1].
 *
 * 1. QLinearGlobalAveragePool: Σ x − count · x_zero as int32, times x_scale / (y_scale · count), as in
 *    `requantize.ts`.
 * 2. QLinearAveragePool: the window's values (code − zero) · scale are added in float32, row by row,
 *    divided by how many there are (padding counts with count_include_pad), then
 *    round(mean / y_scale + y_zero).
 *
 * Source: onnxruntime 1.30, mlas/lib/qlgavgpool.cpp; contrib_ops/cpu/quantization/qlinear_pool.cc.
 */
import type { CodeArray } from "../products.ts";
import { type CodeParameters, codeArray, coder, saturator } from "../requantize.ts";
import { elementsOf, type Step, type StepContext } from "../step.ts";
import type { Unit } from "../unit.ts";
import { outputSpatial, type Windows, windowsOf } from "./windows.ts";

export function globalAverageStep(_context: StepContext, unit: Unit): Step | undefined {
  const [data] = unit.operands;
  const { coded } = unit;
  if (data?.scales.length !== 1 || coded === undefined) return undefined;
  const encode = coder(coded);
  return {
    inputs: [data.name],
    outputs: [unit.output],
    run([value]) {
      const codes = value!.data as CodeArray;
      const [batch, channels, ...spatial] = value!.shape as [number, number, ...number[]];
      const count = elementsOf(spatial);
      const scale = Math.fround(data.scales[0]! / Math.fround(coded.scale * Math.fround(count)));
      const result = codeArray(coded.type, batch * channels);
      for (let channel = 0; channel < result.length; channel++) {
        let sum = -data.zeroPoint * count;
        for (let at = channel * count; at < (channel + 1) * count; at++) sum += codes[at]!;
        result[channel] = encode(Math.fround(Math.fround(sum) * scale));
      }
      const shape = [batch, channels, ...spatial.map(() => 1)];
      return [{ type: coded.type, shape, data: result }];
    },
  };
}

export function averageStep(_context: StepContext, unit: Unit): Step | undefined {
  const [data] = unit.operands;
  const { coded, node } = unit;
  const kernel = node.ints("kernel_shape", []);
  if (data?.scales.length !== 1 || coded === undefined) return undefined;
  if (kernel.length < 1 || kernel.length > 2 || node.int("ceil_mode", 0) !== 0) return undefined;
  const values = Float32Array.from({ length: 256 }, (_, code) => {
    const signed = data.type === "int8" && code > 127 ? code - 256 : code;
    return Math.fround(Math.fround(signed - data.zeroPoint) * data.scales[0]!);
  });
  const countsPadding = node.int("count_include_pad", 0) === 1;
  return {
    inputs: [data.name],
    outputs: [unit.output],
    run([value]) {
      const [batch, channels, ...spatial] = value!.shape as [number, number, ...number[]];
      const windows = windowsOf(node, spatial, kernel)!;
      const shape = [batch, channels, ...outputSpatial(windows, spatial.length)];
      const result = codeArray(coded.type, elementsOf(shape));
      const plane = elementsOf(spatial);
      const codes = value!.data as CodeArray;
      const outputs = elementsOf(windows.output);
      for (let channel = 0; channel < batch * channels; channel++) {
        const pixels = codes.subarray(channel * plane, (channel + 1) * plane) as CodeArray;
        const target = result.subarray(channel * outputs, (channel + 1) * outputs);
        averageChannel({ pixels, values, windows, countsPadding, coded, target });
      }
      return [{ type: coded.type, shape, data: result }];
    },
  };
}

function averageChannel(work: {
  readonly pixels: CodeArray;
  readonly values: Float32Array;
  readonly windows: Windows;
  readonly countsPadding: boolean;
  readonly coded: CodeParameters;
  readonly target: CodeArray;
}): void {
  const { pixels, values, windows, coded, target } = work;
  const { input, kernel, strides, padding, output } = windows;
  const encode = saturator(coded.type);
  for (let y = 0; y < output[0]; y++) {
    for (let x = 0; x < output[1]; x++) {
      const top = Math.max(y * strides[0] - padding[0], 0);
      const bottom = Math.min(y * strides[0] - padding[0] + kernel[0], input[0]);
      const left = Math.max(x * strides[1] - padding[1], 0);
      const right = Math.min(x * strides[1] - padding[1] + kernel[1], input[1]);
      let sum = 0;
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          sum = Math.fround(sum + values[pixels[row * input[1] + column]! & 255]!);
        }
      }
      const count = work.countsPadding ? kernel[0] * kernel[1] : (bottom - top) * (right - left);
      const mean = Math.fround(sum / count);
      const code = Math.fround(Math.fround(mean / coded.scale) + coded.zeroPoint);
      target[y * output[1] + x] = encode(code);
    }
  }
}
