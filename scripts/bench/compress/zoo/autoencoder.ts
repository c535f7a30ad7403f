/** An autoencoder of images, 784 → 128 → 16 → 128 → 784, whose error tells what it was not trained on. */
import type { Loss } from "../../../../controller/train/loss.ts";
import { createNet, dense } from "./net.ts";

const pixels = 784;
const widths = [128, 16, 128];
const codeLayer = 1;

export function autoencoder(): Uint8Array {
  const net = createNet({ name: "autoencoder", seed: 41, inputShape: ["N", pixels] });
  let value = "input";
  let inputs = pixels;
  for (const [at, outputs] of widths.entries()) {
    const sums = dense(net, value, { name: `layer${at}`, inputs, outputs });
    // A code without ReLU: none of its few numbers can die.
    value = at === codeLayer ? sums : net.op("Relu", [sums]);
    inputs = outputs;
  }
  const image = dense(net, value, { name: "image", inputs, outputs: pixels });
  return net.finish(image, ["N", pixels]);
}

/** Mean squared difference to the input `target` [N, values]; its gradient is 2 · (y − target) / count. */
export const squaredError: Loss = {
  name: "squared-error",
  build(write, output) {
    const target = "target";
    const count = output.shape.reduce((product, size) => product * size, 1);
    const difference = write.emit("Sub", [output.name, target]);
    const squared = write.emit("Mul", [difference, difference]);
    const total = write.emit("ReduceSum", [squared], { keepdims: { int: 0 } });
    const loss = write.emit("Mul", [total, write.floats(1 / count, [])]);
    const gradient = write.emit("Mul", [difference, write.floats(2 / count, [])]);
    return { inputs: [{ name: target, shape: output.shape }], loss, gradient };
  },
};
