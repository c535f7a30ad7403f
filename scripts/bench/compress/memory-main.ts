/**
 * Calibrates ResNet-8 on the first images of a file of CIFAR-10 records and prints the peak memory of the
 * process: arguments are the file and the number of images. Images are read one by one, as a golden set that
 * does not fit into memory would be.
 */
import fs from "node:fs";
import { applyRecipe } from "../../../controller/compress/compress.ts";
import type { Feeds, Workbench } from "../../../controller/compress/execute.ts";
import { loadModel } from "../../../controller/jobs/workbench.ts";
import { histogramRecipe } from "./candidates.ts";
import { cifar, plainBytes, recordBytes } from "./data/cifar.ts";
import { sharedBytes } from "./data/shared-files.ts";

const [file, count] = process.argv.slice(2) as [string, string];

function* images(): Generator<Feeds> {
  const handle = fs.openSync(file, "r");
  const record = new Uint8Array(recordBytes);
  try {
    for (let image = 0; image < Number(count); image++) {
      fs.readSync(handle, record, 0, recordBytes, image * recordBytes);
      const data = cifar(record, plainBytes).data as Float32Array<ArrayBuffer>;
      yield new Map([["input", { type: "float32", shape: [1, 3, 32, 32], data }]]);
    }
  } finally {
    fs.closeSync(handle);
  }
}

const workbench: Workbench = { load: loadModel, calibration: images };
const modelBytes = sharedBytes("models", "mlperftiny-resnet8-cifar10.onnx");
await applyRecipe({ modelBytes, recipe: histogramRecipe(), workbench });
// Not getrusage's maximum: that one starts at the size of the process that started this one.
const [, kiB] = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))!;
console.log(JSON.stringify({ bytes: Number(kiB) * 1024 }));
