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

const calibrations = {
  minmax: { method: "min-max" },
  "p99-99": { method: "percentile", percent: 99.99 },
  "p99-999": { method: "percentile", percent: 99.999 },
} as const;

/** All candidates, the cheapest first. */
function candidates(): Candidate[] {
  const known = new Map(
    parseRecipes(fs.readFileSync(recipes, "utf8")).map((each) => [each.name, each]),
  );
  const preparation = known.get("int8-static")!.passes.slice(0, -1);
  const shipped = (name: string, scheme: Scheme): Candidate => ({
    scheme,
    recipe: known.get(name)!,
  });
  const made = (name: string, scheme: Scheme, steps: Steps): Candidate => ({
    scheme,
    recipe: { name, summary: "A candidate of the benchmark.", passes: [...preparation, ...steps] },
  });
  const static8 = (["int8-channel", "int8-tensor"] as const).flatMap((scheme) =>
    Object.entries(calibrations).map(([name, calibration]) =>
      made(`${scheme}-${name}`, scheme, [
        {
          pass: "quantize-static",
          options: { perChannel: scheme === "int8-channel", calibration },
        },
      ]),
    ),
  );
  return [
    shipped("fp32-clean", "fp32"),
    shipped("fp16", "fp16"),
    shipped("int8-dynamic", "int8-dynamic"),
    ...static8,
  ];
}

/** The recipe whose time is compared with the rival's: static int8 per channel with observed extremes. */
export function timedRecipe(): Recipe {
  return candidates().find(({ recipe }) => recipe.name === "int8-channel-minmax")!.recipe;
}

/** The files of all candidates, and those that do not apply. */
export async function ourVariants(subject: Subject): Promise<Compressed> {
  const variants: Variant[] = [];
  const refusals: Refusal[] = [];
  const workbench = subjectWorkbench(subject);
  for (const { recipe, scheme } of candidates()) {
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
