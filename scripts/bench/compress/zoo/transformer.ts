/**
 * A small transformer encoder (Vaswani et al. 2017, pre-norm) that reads an image row by row: input
 * [N, 28, 28], 10 classes, two layers of four heads.
 */
import { createNet, dense, type Net } from "./net.ts";

const tokens = 28;
const inputs = 28;
const width = 64;
const heads = 4;
const headWidth = width / heads;
const inner = 128;
const layers = 2;
const classes = 10;

export function transformer(): Uint8Array {
  const net = createNet({ name: "transformer", seed: 31, inputShape: ["N", tokens, inputs] });
  const places = net.weight("places", [tokens, width], 100 * width);
  let value = net.op("Add", [linear(net, "input", "embed", inputs, width), places]);
  for (let layer = 0; layer < layers; layer++) value = block(net, value, `layer${layer}`);
  const channelsFirst = net.op("Transpose", [normalised(net, value, "last")], {
    perm: { ints: [0, 2, 1] },
  });
  const pooled = net.op("Flatten", [net.op("GlobalAveragePool", [channelsFirst])]);
  const logits = dense(net, pooled, { name: "head", inputs: width, outputs: classes });
  return net.finish(logits, ["N", classes]);
}

/** x · w + b for x of rank 3, as MatMul and Add. */
function linear(net: Net, x: string, name: string, from: number, to: number): string {
  const product = net.op("MatMul", [x, net.weight(`${name}.weight`, [from, to], 2 * from)]);
  return net.op("Add", [product, net.filled(`${name}.bias`, [to], 0)]);
}

function normalised(net: Net, x: string, name: string): string {
  const scale = net.filled(`${name}.scale`, [width], 1);
  return net.op("LayerNormalization", [x, scale, net.filled(`${name}.shift`, [width], 0)], {
    axis: { int: -1 },
  });
}

function block(net: Net, x: string, name: string): string {
  const attended = net.op("Add", [x, attention(net, normalised(net, x, `${name}.norm1`), name)]);
  const wide = linear(net, normalised(net, attended, `${name}.norm2`), `${name}.up`, width, inner);
  return net.op("Add", [
    attended,
    linear(net, net.op("Relu", [wide]), `${name}.down`, inner, width),
  ]);
}

function attention(net: Net, x: string, name: string): string {
  const split = (part: string, perm: readonly number[]): string => {
    const projected = linear(net, x, `${name}.${part}`, width, width);
    const shaped = net.op("Reshape", [projected, net.ints([0, tokens, heads, headWidth])]);
    return net.op("Transpose", [shaped], { perm: { ints: perm } });
  };
  const scores = net.op("MatMul", [split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1])]);
  const scaled = net.op("Mul", [scores, net.scalar(1 / Math.sqrt(headWidth))]);
  const weights = net.op("Softmax", [scaled], { axis: { int: -1 } });
  const mixed = net.op("MatMul", [weights, split("value", [0, 2, 1, 3])]);
  const joined = net.op("Transpose", [mixed], { perm: { ints: [0, 2, 1, 3] } });
  const flat = net.op("Reshape", [joined, net.ints([0, tokens, width])]);
  return linear(net, flat, `${name}.out`, width, width);
}
