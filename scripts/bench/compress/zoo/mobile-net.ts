/**
 * Small nets of inverted residual blocks: MobileNetV2 (Sandler et al. 2018) with ReLU6 or SiLU, MobileNetV3
 * (Howard et al. 2019) with HardSwish and squeeze-and-excitation. Input [N, 3, 32, 32], 10 classes.
 * BatchNormalization stays in the file, as exporters leave it.
 */
import { createNet, dense, type Form, type Net } from "./net.ts";

export type Gate = "relu6" | "silu" | "hard-swish";

/** Expansion, channels, repeats and stride of each stage. */
const stages = [
  [1, 16, 1, 1],
  [4, 24, 2, 1],
  [4, 32, 2, 2],
  [4, 64, 2, 2],
] as const;
const stemChannels = 16;
const headChannels = 160;
const classes = 10;

interface Builder {
  readonly net: Net;
  readonly form: Form;
  readonly gate: Gate;
}

export function mobileNet(gate: Gate, form: Form): Uint8Array {
  const net = createNet({ name: `mobile-${gate}`, seed: 11, inputShape: ["N", 3, 32, 32] });
  const builder = { net, form, gate };
  let value = convolution(builder, "input", {
    ...{ name: "stem", inputs: 3, outputs: stemChannels, side: 3, stride: 2 },
  });
  let channels: number = stemChannels;
  for (const [stage, [expansion, outputs, repeats, firstStride]] of stages.entries()) {
    for (let repeat = 0; repeat < repeats; repeat++) {
      const stride = repeat === 0 ? firstStride : 1;
      const name = `stage${stage}.${repeat}`;
      value = block(builder, value, { name, inputs: channels, outputs, expansion, stride });
      channels = outputs;
    }
  }
  value = convolution(builder, value, {
    ...{ name: "head", inputs: channels, outputs: headChannels, side: 1, stride: 1 },
  });
  const pooled = net.op("Flatten", [net.op("GlobalAveragePool", [value])]);
  const logits = dense(net, pooled, { name: "classifier", inputs: headChannels, outputs: classes });
  return net.finish(logits, ["N", classes]);
}

interface ConvolutionShape {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly side: number;
  readonly stride: number;
  readonly isDepthwise?: boolean;
  readonly isLinear?: boolean;
}

function convolution(builder: Builder, x: string, shape: ConvolutionShape): string {
  const { net } = builder;
  const { name, outputs, side, stride, isDepthwise = false } = shape;
  const inputs = isDepthwise ? 1 : shape.inputs;
  const pad = (side - 1) / 2;
  const w = net.weight(`${name}.weight`, [outputs, inputs, side, side], inputs * side * side);
  const y = net.op("Conv", [x, w], {
    kernel_shape: { ints: [side, side] },
    pads: { ints: [pad, pad, pad, pad] },
    strides: { ints: [stride, stride] },
    group: { int: isDepthwise ? outputs : 1 },
  });
  const normalised = net.op("BatchNormalization", [
    y,
    net.filled(`${name}.scale`, [outputs], 1),
    net.filled(`${name}.shift`, [outputs], 0),
    net.filled(`${name}.mean`, [outputs], 0),
    net.filled(`${name}.variance`, [outputs], 1),
  ]);
  return shape.isLinear ? normalised : activation(builder, normalised);
}

function activation({ net, form, gate }: Builder, x: string): string {
  if (gate === "relu6") return net.op("Clip", [x, net.scalar(0), net.scalar(6)]);
  if (gate === "silu") return net.op("Mul", [x, net.op("Sigmoid", [x])]);
  if (form === "file") return net.op("HardSwish", [x]);
  return net.op("Mul", [x, hardSigmoid(net, form, x)]);
}

/** clip(x + 3, 0, 6) / 6. */
function hardSigmoid(net: Net, form: Form, x: string): string {
  if (form === "file") return net.op("HardSigmoid", [x], { alpha: { float: 1 / 6 } });
  const clipped = net.op("Clip", [net.op("Add", [x, net.scalar(3)]), net.scalar(0), net.scalar(6)]);
  return net.op("Mul", [clipped, net.scalar(1 / 6)]);
}

function block(
  builder: Builder,
  x: string,
  shape: { name: string; inputs: number; outputs: number; expansion: number; stride: number },
): string {
  const { name, inputs, outputs, expansion, stride } = shape;
  const wide = inputs * expansion;
  const expanded =
    expansion === 1
      ? x
      : convolution(builder, x, {
          ...{ name: `${name}.expand`, inputs, outputs: wide, side: 1, stride: 1 },
        });
  const spread = convolution(builder, expanded, {
    ...{ name: `${name}.depthwise`, inputs: wide, outputs: wide, side: 3, stride },
    isDepthwise: true,
  });
  const weighed = builder.gate === "hard-swish" ? excitation(builder, spread, name, wide) : spread;
  const projected = convolution(builder, weighed, {
    ...{ name: `${name}.project`, inputs: wide, outputs, side: 1, stride: 1 },
    isLinear: true,
  });
  return stride === 1 && inputs === outputs ? builder.net.op("Add", [x, projected]) : projected;
}

/** Squeeze-and-excitation: each channel is weighed by what the means of all channels say. */
function excitation({ net, form }: Builder, x: string, name: string, channels: number): string {
  const reduced = channels / 4;
  const pointwise = (value: string, part: string, inputs: number, outputs: number): string =>
    net.op("Conv", [
      value,
      net.weight(`${name}.${part}.weight`, [outputs, inputs, 1, 1], inputs),
      net.filled(`${name}.${part}.bias`, [outputs], 0),
    ]);
  const squeezed = pointwise(net.op("GlobalAveragePool", [x]), "squeeze", channels, reduced);
  const excited = pointwise(net.op("Relu", [squeezed]), "excite", reduced, channels);
  return net.op("Mul", [x, hardSigmoid(net, form, excited)]);
}
