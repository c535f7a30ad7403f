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
/** What comes before quantization in the recipe that comes with the program. */
const preparation = shippedRecipes.get("int8-static")!.passes.filter(({ pass }) => !isLast(pass));

function isLast(pass: string): boolean {
  return ["compact", "to-qoperator"].includes(pass) || pass.startsWith("quantize");
}

function made(name: string, scheme: Scheme, steps: Steps): Candidate {
  const shrink = [{ pass: "to-qoperator", optional: true }, { pass: "compact" }];
  const passes = [...preparation, ...steps, ...shrink];
  return { scheme, recipe: { name, summary: "A candidate of the benchmark.", passes } };
}

function shipped(name: string, scheme: Scheme): Candidate {
  return { scheme, recipe: shippedRecipes.get(name)! };
}

const schemesOfStatic = ["int8-channel", "int8-tensor"] as const;

/** Static int8 with every calibration, of the model as it is. */
function staticRecipes(): Candidate[] {
  return schemesOfStatic.flatMap((scheme) =>
    Object.entries(calibrations).map(([name, calibration]) =>
      made(`${scheme}-${name}`, scheme, [static8(scheme, calibration)]),
    ),
  );
}

function static8(scheme: (typeof schemesOfStatic)[number], calibration: object): Steps[number] {
  const perChannel = scheme === "int8-channel";
  return { pass: "quantize-static", options: { perChannel, calibration } };
}

/** What makes a model easier to quantize, by the short name in a recipe. */
const preparers: Readonly<Record<string, Steps>> = {
  equalized: [{ pass: "equalize-cross-layer" }],
  gated: [{ pass: "equalize-cross-layer" }, { pass: "equalize-gates" }],
  smooth: [{ pass: "smooth-quant" }],
  recurrent: [{ pass: "quantize-recurrent" }],
};

/** Static int8 behind each preparer. */
function preparedRecipes(): Candidate[] {
  return Object.entries(preparers).flatMap(([preparer, steps]) =>
    schemesOfStatic.flatMap((scheme) =>
      (["minmax", "mean", "p99-99"] as const).map((name) =>
        made(`${scheme}-${preparer}-${name}`, scheme, [
          ...steps,
          static8(scheme, calibrations[name]),
        ]),
      ),
    ),
  );
}

/** Static int8 in its smallest forms: embeddings stored in 8 bits too, operators on integers. */
function smallRecipes(): Candidate[] {
  return schemesOfStatic.flatMap((scheme) => [
    made(`${scheme}-tables`, scheme, [
      static8(scheme, calibrations.minmax),
      { pass: "quantize-weights", options: { bits: 8 } },
    ]),
    made(`${scheme}-qoperator`, scheme, [
      static8(scheme, calibrations.minmax),
      { pass: "to-qoperator" },
    ]),
  ]);
}

function weightRecipes(): Candidate[] {
  const of = (bits: 2 | 4 | 8, name: string, options: object): Candidate =>
    made(`w${bits}-${name}`, `w${bits}`, [
      { pass: "quantize-weights", options: { bits, ...options } },
    ]);
  return [
    ...([8, 4, 2] as const).flatMap((bits) => [
      of(bits, "symmetric", {}),
      of(bits, "asymmetric", { symmetric: false }),
      of(bits, "floats", { accuracyLevel: 0 }),
    ]),
    of(8, "cast", { form: "cast" }),
  ];
}

/** All candidates, the cheapest first. */
function candidates(): Candidate[] {
  return [
    shipped("fp32-clean", "fp32"),
    made("fp32-compact", "fp32", []),
    made("fp16", "fp16", [{ pass: "float16" }]),
    made("int8-dynamic", "int8-dynamic", [{ pass: "quantize-dynamic" }]),
    made("int8-dynamic-stored", "int8-dynamic", [
      { pass: "quantize-dynamic" },
      { pass: "quantize-weights" },
    ]),
    made("int8-recurrent", "int8-dynamic", [{ pass: "quantize-recurrent" }]),
    made("int8-recurrent-dynamic", "int8-dynamic", [
      { pass: "quantize-recurrent" },
      { pass: "quantize-dynamic" },
    ]),
    made("w8-recurrent", "w8", [
      { pass: "quantize-recurrent", options: { lstm: "stored" } },
      { pass: "quantize-weights", options: { bits: 8 } },
    ]),
    ...staticRecipes(),
    ...preparedRecipes(),
    ...smallRecipes(),
    ...weightRecipes(),
  ];
}

/** The graph preparation alone. */
export function preparationRecipe(): Recipe {
  return { name: "preparation", summary: "Preparation.", passes: preparation };
}

/** The recipe whose time is compared with the rival's: static int8 per channel with observed extremes. */
export function timedRecipe(): Recipe {
  return recipeNamed("int8-channel-minmax");
}

/** Of the candidates those with these words in their names, for models that take long. */
const few = /^(fp|int8-(dynamic|(channel|tensor)(-gated)?-(minmax|mean|p99-99)$)|w[48]-symmetric)/;

/** The recipe whose memory is measured: its calibration needs histograms of all values. */
export function histogramRecipe(): Recipe {
  return recipeNamed("int8-channel-p99-99");
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
