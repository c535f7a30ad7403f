/**
 * Our recipes, as the benchmark tries them. A new one is one entry here.
 *
 * Every candidate starts with the graph preparation of the recipe `int8-static` that comes with the program,
 * so what is improved there is improved here.
 */
import fs from "node:fs";
import { applyRecipe } from "../../../controller/compress/compress.ts";
import { parseRecipes, type Recipe } from "../../../controller/compress/recipe.ts";
import { isFleetError } from "../../../shared/errors.ts";
import type { Compressed, Refusal } from "./rivals.ts";
import type { Subject } from "./subject.ts";
import type { Scheme, Variant } from "./variant.ts";
import { subjectWorkbench } from "./workbench.ts";

interface Candidate {
  readonly scheme: Scheme;
  readonly recipe: Recipe;
}

type Steps = Recipe["passes"];

const recipes = new URL("../../../controller/compress/recipes.yaml", import.meta.url);

const percentile = (percent: number) => ({ method: "percentile", percent });
const calibrations = {
  minmax: { method: "min-max" },
  mean: { method: "moving-average", average: "arithmetic" },
  "p99-9": percentile(99.9),
  "p99-99": percentile(99.99),
  "p99-999": percentile(99.999),
  entropy: { method: "entropy" },
  mse: { method: "mse" },
};

const shippedRecipes = new Map(
  parseRecipes(fs.readFileSync(recipes, "utf8")).map((each) => [each.name, each]),
);
const shippedStatic = shippedRecipes.get("int8-static")!.passes;
const quantizationAt = shippedStatic.findIndex(({ pass }) => pass === "quantize-static");
/** What comes before and behind quantization in the recipe that comes with the program. */
const preparation = shippedStatic.slice(0, quantizationAt);
const ending = shippedStatic.slice(quantizationAt + 1);

function made(name: string, scheme: Scheme, steps: Steps): Candidate {
  const passes = [...preparation, ...steps, ...ending];
  return { scheme, recipe: { name, summary: "A candidate of the benchmark.", passes } };
}

function shipped(name: string, scheme: Scheme): Candidate {
  return { scheme, recipe: shippedRecipes.get(name)! };
}

/** LSTM with one scale for all rows, where quantization has one per tensor. */
const cellsPerTensor: Steps[number] = {
  ...step("quantize-recurrent", { perChannel: false }),
  optional: true,
};

const schemesOfStatic = ["int8-channel", "int8-tensor"] as const;

/** What is done beside observing: passes before quantization, and options of it. */
interface Recovery {
  readonly steps?: Steps;
  readonly options?: object;
  readonly calibrations: readonly (keyof typeof calibrations)[];
}

/** The passes that come before quantization in `int8-static-recovered`. */
const equalization = shippedRecipes
  .get("int8-static-recovered")!
  .passes.filter(({ pass }) => pass.startsWith("equalize") || pass === "smooth-quant");

const bias = { biasCorrection: true };
const errorFeedback = { rounding: { strategy: "error-feedback" } };
const feedback = { ...bias, ...errorFeedback };
const fast = { biasCorrection: "fast" };
const cutTails = { cutGateTails: true };

/** By the short name in a recipe. */
const recoveries: Readonly<Record<string, Recovery>> = {
  plain: { calibrations: Object.keys(calibrations) as (keyof typeof calibrations)[] },
  bias: { options: bias, calibrations: ["minmax", "mean"] },
  feedback: { options: feedback, calibrations: ["minmax", "mean"] },
  fast: { options: fast, calibrations: ["minmax", "mean"] },
  "fast-feedback": { options: { ...fast, ...errorFeedback }, calibrations: ["minmax", "mean"] },
  unsigned: { options: { weights: "uint8" }, calibrations: ["minmax", "p99-999"] },
  equalized: {
    ...{ steps: equalization, options: cutTails },
    calibrations: ["minmax", "mean", "p99-99"],
  },
  recovered: {
    ...{ steps: equalization, options: { ...cutTails, ...feedback } },
    calibrations: ["minmax", "mean", "p99-99"],
  },
};

/** Static int8 with each recovery. */
function staticRecipes(): Candidate[] {
  return schemesOfStatic.flatMap((scheme) =>
    Object.entries(recoveries).flatMap(([name, recovery]) =>
      recovery.calibrations.map((calibration) =>
        made(`${scheme}-${name}-${calibration}`, scheme, [
          ...(recovery.steps ?? []),
          ...static8(scheme, calibrations[calibration], recovery.options),
        ]),
      ),
    ),
  );
}

function step(pass: string, options: object = {}): Steps[number] {
  return { pass, optional: false, options: { ...options } };
}

function static8(
  scheme: (typeof schemesOfStatic)[number],
  calibration: object,
  more: object = {},
): Steps {
  const perChannel = scheme === "int8-channel";
  const layers = step("quantize-static", { perChannel, calibration, ...more });
  return perChannel ? [layers] : [layers, cellsPerTensor];
}

/** Embeddings stored in 8 bits beside static int8; static int8 left in QDQ form. */
function otherForms(): Candidate[] {
  return schemesOfStatic.flatMap((scheme) => {
    const quantized = static8(scheme, calibrations.minmax);
    const tables = { ...step("quantize-weights"), optional: true };
    const qdq = made(`${scheme}-qdq`, scheme, quantized);
    const passes = [...preparation, ...quantized, step("compact")];
    return [
      made(`${scheme}-tables`, scheme, [...quantized, tables]),
      { ...qdq, recipe: { ...qdq.recipe, passes } },
    ];
  });
}

function weightRecipes(): Candidate[] {
  const of = (bits: 2 | 4 | 8, name: string, options: object): Candidate =>
    made(`w${bits}-${name}`, `w${bits}`, [step("quantize-weights", { bits, ...options })]);
  return [
    ...([8, 4, 2] as const).flatMap((bits) => [
      of(bits, "symmetric", {}),
      of(bits, "asymmetric", { symmetric: false }),
      of(bits, "floats", { accuracyLevel: 0 }),
    ]),
    ...([4, 2] as const).flatMap((bits) => [
      of(bits, "feedback", { rounding: "error-feedback" }),
      of(bits, "feedback-asymmetric", { rounding: "error-feedback", symmetric: false }),
    ]),
    of(4, "convolutions", { convolutionBits: 4, rounding: "error-feedback" }),
    of(8, "cast", { form: "cast" }),
  ];
}

/** All candidates, the cheapest first. */
function candidates(): Candidate[] {
  return [
    shipped("fp32-clean", "fp32"),
    made("fp32-compact", "fp32", [step("compact")]),
    shipped("fp16", "fp16"),
    made("int8-dynamic", "int8-dynamic", [step("quantize-dynamic")]),
    made("int8-dynamic-tensor", "int8-dynamic", [
      step("quantize-dynamic", { perChannel: false }),
      cellsPerTensor,
    ]),
    made("int8-dynamic-stored", "int8-dynamic", [
      step("quantize-dynamic"),
      { ...step("quantize-weights"), optional: true },
    ]),
    shipped("int8-recurrent", "int8-dynamic"),
    made("w8-recurrent", "w8", [
      step("quantize-recurrent", { lstm: "stored" }),
      { ...step("quantize-weights"), optional: true },
    ]),
    ...staticRecipes(),
    ...otherForms(),
    ...weightRecipes(),
  ];
}

/** The graph preparation alone. */
export function preparationRecipe(): Recipe {
  return { name: "preparation", summary: "Preparation.", passes: preparation };
}

/** The recipe whose time is compared with the rival's: the same scheme, calibration and form. */
export function timedRecipe(): Recipe {
  return recipeNamed("int8-channel-qdq");
}

/** Of the candidates those with these words in their names, for models that take long. */
const few =
  /^(fp|int8-(dynamic|channel-recovered-minmax$|(channel|tensor)-(plain|equalized)-(minmax|mean)$)|w[48]-symmetric)/;

/** The recipe whose memory is measured: its calibration needs histograms of all values. */
export function histogramRecipe(): Recipe {
  return recipeNamed("int8-channel-plain-p99-99");
}

function recipeNamed(name: string): Recipe {
  return candidates().find(({ recipe }) => recipe.name === name)!.recipe;
}

/** The files of all candidates, and those that do not apply. */
export async function ourVariants(subject: Subject): Promise<Compressed> {
  const variants: Variant[] = [];
  const refusals: Refusal[] = [];
  const workbench = subjectWorkbench(subject, { keepsTables: true });
  const tried = candidates().filter(
    ({ recipe }) => subject.grid !== "few" || few.test(recipe.name),
  );
  for (const { recipe, scheme } of tried) {
    const name = `fleetfit/${recipe.name}`;
    try {
      const made = await applyRecipe({ modelBytes: subject.modelBytes, recipe, workbench });
      if (made.outcome === "made") variants.push({ name, scheme, bytes: made.bytes });
      else refusals.push({ recipe: name, reason: made.reason });
    } catch (error) {
      if (!isFleetError(error)) throw error;
      refusals.push({ recipe: name, reason: error.message });
    }
  }
  return { variants, refusals };
}
