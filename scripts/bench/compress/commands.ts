/**
 * Whole commands on ResNet-8, from start to exit, as a person waits for them: one static int8 file on both
 * sides, and our search over all recipes with 1,000 golden images.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { GoldenManifest } from "../../../shared/evaluation/golden-set.ts";
import { encodeNpy } from "../../../shared/evaluation/npy.ts";
import type { Row } from "../frame.ts";
import { row } from "./contest.ts";
import { cifarJpeg, plainBytes } from "./data/cifar.ts";
import { sharedFile } from "./data/shared-files.ts";
import { sharedModel } from "./subjects/shared-models.ts";
import { rivalTimesMs } from "./time.ts";

type Say = (line: string) => void;

export interface CommandResult {
  readonly oneFileMs: number;
  readonly theirOneFileMs: number;
  readonly searchMs: number;
}

const goldenCount = 1_000;
const cli = path.resolve(import.meta.dirname, "../../../controller/cli/main.ts");

export async function timeCommands(folder: string, say: Say): Promise<CommandResult> {
  const golden = await writeGoldenSet(path.join(folder, "golden"), say);
  const model = sharedFile("models", "mlperftiny-resnet8-cifar10.onnx");
  const compress = (name: string, more: readonly string[]): number => {
    say(`fleetfit compress, ${name}`);
    const out = path.join(folder, name);
    const args = [cli, "compress", model, "--golden", golden, "--out", out, "--json", ...more];
    return wallMs(() => execFileSync(process.execPath, args, { stdio: "ignore" }));
  };
  const oneFileMs = compress("one-recipe", ["--recipe", "int8-static"]);
  const searchMs = compress("search", []);
  const subject = await sharedModel("resnet8", say);
  const startMs = performance.now();
  await rivalTimesMs(subject, folder, { repeats: 1, only: "quantized", say });
  const theirOneFileMs = performance.now() - startMs;
  return { oneFileMs, theirOneFileMs, searchMs };
}

async function writeGoldenSet(folder: string, say: Say): Promise<string> {
  const { data, labels } = await cifarJpeg("test", plainBytes, say);
  const length = 3 * 32 * 32;
  fs.mkdirSync(folder, { recursive: true });
  const write = (file: string, values: Uint8Array, shape: readonly number[]) => {
    fs.writeFileSync(path.join(folder, file), encodeNpy({ dtype: "uint8", shape, data: values }));
    return { file };
  };
  const images = Uint8Array.from(data.subarray(0, goldenCount * length) as Float32Array);
  const manifest: GoldenManifest = {
    format: "fleetfit-golden/1",
    name: "CIFAR-10",
    inputs: { input: write("images.npy", images, [goldenCount, 3, 32, 32]) },
    labels: write("labels.npy", Uint8Array.from(labels).slice(0, goldenCount), [goldenCount]),
    metric: { name: "top-1" },
  };
  const file = path.join(folder, "golden.json");
  fs.writeFileSync(file, JSON.stringify(manifest));
  return file;
}

function wallMs(action: () => unknown): number {
  const startMs = performance.now();
  action();
  return performance.now() - startMs;
}

export function commandRows({ oneFileMs, theirOneFileMs, searchMs }: CommandResult): Row[] {
  const none = { fp32: null, theirs: null, figure: null };
  return [
    row("command ms", "resnet8", "one static int8 file", {
      ...{ fp32: null, ours: oneFileMs, theirs: theirOneFileMs },
      figure: oneFileMs / theirOneFileMs,
      note: "start to exit; ours also evaluates the file on the golden set and writes a report",
    }),
    row("command ms", "resnet8", `search, ${goldenCount} golden images`, {
      ...{ ...none, ours: searchMs },
      note: "all recipes, evaluated",
    }),
  ];
}
