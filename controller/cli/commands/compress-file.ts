/** `fleetfit compress model.onnx`: compression of one file on this machine, without a controller. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { onnxruntimeVersion } from "../../../shared/adapters/runtime-facts.ts";
import { systemClock } from "../../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import { systemProcesses } from "../../../shared/adapters/system-processes.ts";
import { systemRandom } from "../../../shared/adapters/system-random.ts";
import { readIsa } from "../../../shared/devices/isa.ts";
import { FleetError } from "../../../shared/errors.ts";
import { writeFileAtomic } from "../../../shared/files/atomic-file.ts";
import type { Files } from "../../../shared/ports/files.ts";
import { parseRecipes, type Recipe } from "../../compress/recipe.ts";
import { admits, type DeviceClass } from "../../fleet/classes.ts";
import { loadFleetConfig } from "../../fleet/load.ts";
import type { ForetellBound } from "../../jobs/foretell-bound.ts";
import { compressFile } from "../../local/compress-file.ts";
import { readCostTable } from "../../local/cost-table.ts";
import { readSources } from "../../local/sources.ts";
import {
  type CompressionReport,
  foretoldTimesText,
  foretoldTimeText,
  int8Text,
  type VariantReport,
} from "../../report/compression-report.ts";
import { foretoldText } from "../foretold-text.ts";
import type { CliIo } from "../io.ts";
import { readModelFile } from "../model-file.ts";
import { kilobytes, percent, progress, show, table } from "../output.ts";
import { interfaceOf } from "./interface-file.ts";

export interface CompressFileFlags {
  readonly golden?: string;
  readonly interface?: string;
  readonly class?: string;
  readonly configDir?: string;
  readonly recipe?: readonly string[];
  readonly out?: string;
  readonly costTable?: string;
  readonly measure: boolean;
  readonly foretellSamples: ForetellBound["samplesMax"];
  readonly foretellSeconds: number;
  readonly json?: boolean;
}

const memoryBytesMax = 4 * 2 ** 30;
const timeoutMs = 3_600_000;
/** The class that takes every device, in the classes that come along. */
const classDefault = "any";

/** True when the command names a file and no version: compression without a controller. */
export function namesFile(model: string, version: string | undefined): boolean {
  return version === undefined && (model.endsWith(".onnx") || existsSync(model));
}

/** Errors: those of `readSources`, `loadFleetConfig` and `compressFile`; `input-invalid`, `not-found`. */
export async function compressFileHere(
  io: CliIo,
  modelFile: string,
  flags: CompressFileFlags,
): Promise<void> {
  if (flags.golden === undefined) {
    throw new FleetError(
      "input-invalid",
      `${modelFile} needs a golden set: add --golden and its manifest, which docs/golden-sets.md describes`,
    );
  }
  const files = systemFiles();
  const settings = await loadFleetConfig(files, absolute(flags.configDir));
  const deviceClass = classNamed(settings.classes, flags.class ?? classDefault);
  const recipes = await recipesOf(files, settings.recipes, deviceClass, flags.recipe);
  const outDir = resolve(flags.out ?? `${modelFile.replace(/\.onnx$/, "")}-variants`);
  const costs =
    flags.costTable === undefined
      ? undefined
      : await readCostTable(files, resolve(flags.costTable));
  const sources = await readSources(
    files,
    {
      modelPath: await oneFile(files, resolve(modelFile), outDir),
      goldenPath: resolve(flags.golden),
      assetDir: flags.interface === undefined ? undefined : dirname(resolve(flags.interface)),
    },
    flags.interface === undefined ? undefined : interfaceOf(flags.interface),
  );
  const cpuFlags = await readIsa(files);
  const bar = progress(io, "compress");
  const stop = new AbortController();
  const report = await compressFile(
    { files, processes: systemProcesses(), clock: systemClock(), random: systemRandom() },
    {
      sources,
      recipes,
      deviceClass: { ...deviceClass, recipes: recipes.map(({ name }) => name) },
      machine: { runtime: onnxruntimeVersion(), cpuFlags },
      isOfClass: admits(deviceClass, { architecture: process.arch, isa: cpuFlags }),
      outDir,
      measure: flags.measure,
      foretellBound: {
        samplesMax: flags.foretellSamples,
        timeMaxMs: Math.round(flags.foretellSeconds * 1_000),
      },
      ...(costs !== undefined && { costs }),
      limits: { memoryBytesMax, timeoutMs },
    },
    bar.set,
    stop.signal,
  ).finally(() => bar.end());
  show(io, flags, report, (made) => reportText(made, outDir));
}

/** The model itself, or a copy in the output folder that holds what lay in files beside it. */
async function oneFile(files: Files, path: string, outDir: string): Promise<string> {
  const bytes = readModelFile(path);
  if ((await files.stat(path))?.bytes === bytes.byteLength) return path;
  const joined = join(outDir, "source.onnx");
  await writeFileAtomic(files, joined, bytes);
  return joined;
}

const absolute = (path: string | undefined) => (path === undefined ? undefined : resolve(path));

function classNamed(classes: readonly DeviceClass[], name: string): DeviceClass {
  const found = classes.find((each) => each.name === name);
  if (found !== undefined) return found;
  const known = classes.map((each) => each.name).join(", ");
  throw new FleetError("not-found", `there is no class ${name}; known are ${known}`);
}

/** Recipes by name, or all of a file; those of the class when none is named. */
async function recipesOf(
  files: Files,
  known: readonly Recipe[],
  deviceClass: DeviceClass,
  wanted: readonly string[] | undefined,
): Promise<Recipe[]> {
  if (wanted === undefined) return known.filter(({ name }) => deviceClass.recipes.includes(name));
  const chosen: Recipe[] = [];
  for (const name of wanted) {
    if (/\.ya?ml$/.test(name)) {
      const bytes = await files.read(resolve(name), { maxBytes: recipeBytesMax });
      chosen.push(...parseRecipes(new TextDecoder().decode(bytes)));
      continue;
    }
    const recipe = known.find((each) => each.name === name);
    if (recipe === undefined) {
      const names = known.map((each) => each.name).join(", ");
      throw new FleetError("not-found", `there is no recipe ${name}; known are ${names}`);
    }
    chosen.push(recipe);
  }
  return chosen;
}

const recipeBytesMax = 1_000_000;

function reportText(report: CompressionReport, outDir: string): string {
  const { variants, choice, deviceClass, foretoldOn } = report;
  const rows = variants.map((variant) => [
    ...rowOf(variant, choice.recipe),
    ...(foretoldOn === null || variant.figures === null ? [] : [foretoldTimeText(variant)]),
  ]);
  const head = ["", "recipe", "size", "smaller", report.golden.metric, "95 %", "worse / better"]
    .concat(["p50", "time of source", "peak memory", "int8 layers"])
    .concat(foretoldOn === null ? [] : [`foretold on ${foretoldOn.device}`]);
  const why = table(
    ["recipe", "why"],
    choice.reasons.map(({ recipe, why }) => [recipe, why]),
    "",
  );
  const outcome =
    choice.recipe === null
      ? `Nothing fits the class ${deviceClass}.`
      : `The class ${deviceClass} gets ${choice.recipe}: ${outDir}/${choice.recipe}/model.onnx`;
  return [
    table(head, rows, "No recipe was applied."),
    ...foretoldText(
      variants.map(({ recipe, figures }) => ({ recipe, foretold: figures?.foretold ?? [] })),
    ),
    ...(foretoldOn === null ? [] : [foretoldTimesText(report)]),
    why,
    `${outcome}\nThe whole report: ${outDir}/report.html`,
  ].join("\n\n");
}

function rowOf({ recipe, status, reason, figures }: VariantReport, chosen: string | null) {
  const mark = recipe === chosen ? "→" : "";
  if (figures === null) return [mark, recipe, status, "", "", reason];
  const { latency, fusion, sealed, paired } = figures;
  return [
    mark,
    recipe,
    kilobytes(figures.bytes),
    `${figures.timesSmaller.toFixed(2)}×`,
    percent(sealed.value),
    `${percent(sealed.low)} … ${percent(sealed.high)}`,
    `${paired.worse} / ${paired.better} (p ${paired.p.toPrecision(2)})`,
    latency === null ? "" : `${latency.p50Ms.toFixed(3)} ms`,
    latency === null ? "" : `${latency.cpuRatio.toFixed(2)}×`,
    kilobytes(figures.ramPeakBytes),
    int8Text(fusion),
  ];
}
