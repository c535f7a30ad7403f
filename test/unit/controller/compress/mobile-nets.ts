/**
 * Nets of inverted residual blocks, MobileNetV2-like with SiLU or Relu6 and MobileNetV3-like with HardSwish
 * and squeeze-and-excite. Channels between expansion and depthwise convolution differ by powers of ten, as
 * in trained nets of this kind (Nagel et al., 2019, fig. 2), and the depthwise weights make up for it.
 */
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { buildModel, node } from "./sample-nets.ts";

export interface MobileNetOptions {
  readonly activation: "silu" | "hard-swish" | "relu6" | "relu";
  readonly squeezeExcite?: boolean;
  /** Standard deviation of the natural logarithm of channel scales; 0 for none. */
  readonly spread: number;
  readonly seed: number;
}

export const mobileNetShape: readonly number[] = [1, 3, 32, 32];
const width = 16;
const expanded = 48;

export function mobileNet(options: MobileNetOptions): Model {
  const builder = new Builder(options);
  let value = builder.conv("x", { from: 3, to: width, kernel: 3, stride: 2 });
  value = builder.activate(value);
  for (const stride of [1, 2, 1]) value = builder.block(value, stride);
  value = builder.activate(builder.conv(value, { from: width, to: 64, kernel: 1 }));
  return builder.finish(value, 64);
}

interface ConvOptions {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly depthwise?: boolean;
  /** One factor per output channel. */
  readonly scales?: Float32Array;
}

class Builder {
  readonly #options: MobileNetOptions;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [
    floatTensor("zero", [], [0]),
    floatTensor("six", [], [6]),
  ];
  #count = 0;

  constructor(options: MobileNetOptions) {
    this.#options = options;
  }

  conv(input: string, { from, to, kernel, stride = 1, depthwise, scales }: ConvOptions): string {
    const name = this.#name("conv");
    const fanIn = (depthwise ? 1 : from) * kernel ** 2;
    const weights = randomValues(this.#seed(), to * fanIn, 1.4 / Math.sqrt(fanIn));
    const scaled = weights.map((value, at) => value * (scales?.[Math.floor(at / fanIn)] ?? 1));
    const bias = randomValues(this.#seed(), to, 0.2).map(
      (value, at) => value * (scales?.[at] ?? 1),
    );
    this.#initializers.push(
      floatTensor(`${name}_w`, [to, depthwise ? 1 : from, kernel, kernel], scaled),
      floatTensor(`${name}_b`, [to], depthwise ? new Float32Array(to) : bias),
    );
    const border = (kernel - 1) / 2;
    return this.#add("Conv", [input, `${name}_w`, `${name}_b`], name, {
      pads: { ints: [border, border, border, border] },
      strides: { ints: [stride, stride] },
      group: { int: depthwise ? from : 1 },
    });
  }

  activate(value: string): string {
    const { activation } = this.#options;
    if (activation === "relu") return this.#add("Relu", [value], this.#name("relu"));
    if (activation === "relu6")
      return this.#add("Clip", [value, "zero", "six"], this.#name("clip"));
    if (activation === "hard-swish") return this.#add("HardSwish", [value], this.#name("swish"));
    const gate = this.#add("Sigmoid", [value], this.#name("sigmoid"));
    return this.#add("Mul", [value, gate], this.#name("silu"));
  }

  block(input: string, stride: number): string {
    const scales = randomValues(this.#seed(), expanded).map((log) =>
      Math.exp(log * this.#options.spread),
    );
    const inverse = scales.map((scale) => 1 / scale);
    let value = this.conv(input, { from: width, to: expanded, kernel: 1, scales });
    value = this.activate(value);
    value = this.conv(value, {
      from: expanded,
      to: expanded,
      kernel: 3,
      stride,
      depthwise: true,
      scales: inverse,
    });
    value = this.activate(value);
    if (this.#options.squeezeExcite) value = this.#excite(value);
    value = this.conv(value, { from: expanded, to: width, kernel: 1 });
    return stride === 1 ? this.#add("Add", [value, input], this.#name("sum")) : value;
  }

  finish(value: string, channels: number): Model {
    const pooled = this.#add("GlobalAveragePool", [value], this.#name("pool"));
    const flat = this.#add("Flatten", [pooled], this.#name("flat"));
    this.#initializers.push(
      floatTensor("head_w", [10, channels], randomValues(this.#seed(), 10 * channels, 0.3)),
      floatTensor("head_b", [10], randomValues(this.#seed(), 10, 0.1)),
    );
    this.#add("Gemm", [flat, "head_w", "head_b"], "y", { transB: { int: 1 } });
    return buildModel({
      opset: 14,
      inputShape: mobileNetShape,
      nodes: this.#nodes,
      initializers: this.#initializers,
    });
  }

  #excite(value: string): string {
    const pooled = this.#add("GlobalAveragePool", [value], this.#name("pool"));
    const squeezed = this.conv(pooled, { from: expanded, to: 12, kernel: 1 });
    const relu = this.#add("Relu", [squeezed], this.#name("relu"));
    const excited = this.conv(relu, { from: 12, to: expanded, kernel: 1 });
    const gate = this.#add("HardSigmoid", [excited], this.#name("gate"));
    return this.#add("Mul", [value, gate], this.#name("attended"));
  }

  #add(
    opType: string,
    inputs: readonly string[],
    output: string,
    attributes: Parameters<typeof node>[3] = {},
  ): string {
    this.#nodes.push(node(opType, inputs, [output], attributes));
    return output;
  }

  #name(kind: string): string {
    this.#count++;
    return `${kind}_${this.#count}`;
  }

  #seed(): number {
    this.#count++;
    return this.#options.seed * 1000 + this.#count;
  }
}
