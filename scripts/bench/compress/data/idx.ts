/** The gzipped IDX sets: handwritten digits and fashion, 10,000 grey images of 28×28 each. */
import { imageBytes, imageSide, parseIdx } from "../../../data/mnist.ts";
import type { LabelledSamples } from "../subject.ts";
import { sharedBytes } from "./shared-files.ts";

const count = 10_000;

/** float32 [10000, 28, 28]: (byte · scale − mean) / spread. */
export function idxImages(
  folder: "mnist-t10k" | "fashion-mnist",
  { scale, mean = 0, spread = 1 }: { scale: number; mean?: number; spread?: number },
): LabelledSamples {
  const bytes = (file: string) => sharedBytes("data", folder, file);
  const images = parseIdx(
    bytes("t10k-images-idx3-ubyte.gz"),
    [count, imageSide, imageSide],
    folder,
  );
  const labels = parseIdx(bytes("t10k-labels-idx1-ubyte.gz"), [count], folder);
  const data = new Float32Array(count * imageBytes);
  for (let at = 0; at < data.length; at++) data[at] = (images[at]! * scale - mean) / spread;
  return { data, count, labels };
}
