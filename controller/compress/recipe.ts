/**
 * A recipe is an ordered list of passes with their options, written by an operator as YAML.
 *
 * Invariant: a recipe that was parsed can be run: its passes exist and their options are valid.
 */
import { parse } from "yaml";
import { z } from "zod";
import { canonicalJson } from "../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import type { BoundPass } from "./pass.ts";
import { findPass, passes } from "./passes/registry.ts";

/** A recipe file is a page or two. */
const textLengthMax = 200_000;
const recipesMax = 200;
const passesMax = 64;

const recipeSchema = z.strictObject({
  name: z
    .string()
    .max(64)
    .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "lower-case words joined by hyphens"),
  /** One sentence for people who choose. */
  summary: z.string().min(1).max(500),
  /** Which models it makes no sense for, for people. */
  notFor: z.string().max(500).optional(),
  /** A variant whose planned int8 layers do not run in int8 here is kept: it is made for elsewhere. */
  allowFallback: z.boolean().optional(),
  /** A list within the list stands for what is in it: the shared beginnings are such lists. */
  passes: z.preprocess(
    (list) => (Array.isArray(list) ? list.flat() : list),
    z
      .array(
        z.strictObject({
          pass: z.string(),
          options: z.record(z.string(), z.unknown()).optional(),
          /** Left out where it makes no sense for the model, which otherwise ends the recipe. */
          optional: z.boolean().optional(),
        }),
      )
      .min(1)
      .max(passesMax),
  ),
});

export type Recipe = z.output<typeof recipeSchema>;

export interface RecipeNeeds {
  /** True when samples are needed to observe activations or to run the model. */
  readonly samples: boolean;
}

/**
 * Parses a file of the form `recipes: [{ name, summary, passes: [{ pass, options }] }]`. What stands
 * under `shared` is there for YAML's anchors alone. Throws `recipe-invalid`, naming every fault.
 */
export function parseRecipes(text: string): Recipe[] {
  if (text.length > textLengthMax) {
    throw invalid([`the file has more than ${textLengthMax} characters`]);
  }
  const document = parseYaml(text);
  const fileSchema = z.strictObject({
    shared: z.record(z.string(), z.unknown()).optional(),
    recipes: z.array(recipeSchema).min(1).max(recipesMax),
  });
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) {
    throw invalid(
      parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`),
      parsed.error,
    );
  }
  const { recipes } = parsed.data;
  const names = new Set<string>();
  for (const recipe of recipes) {
    if (names.has(recipe.name)) throw invalid([`recipe ${recipe.name} occurs twice`]);
    names.add(recipe.name);
    bindPasses(recipe);
  }
  return recipes;
}

/** The recipe's passes, ready to run. Throws `recipe-invalid`. */
export function bindPasses(recipe: Recipe): BoundPass[] {
  return recipe.passes.map(({ pass: name, options, optional }) => {
    const pass = findPass(name);
    if (pass !== undefined) return { ...pass.bind(options), optional: optional === true };
    const known = passes.map((each) => each.name).join(", ");
    throw invalid([`recipe ${recipe.name} names the pass ${name}; known are ${known}`]);
  });
}

/** SHA-256 of what the recipe says: equal for equal recipes, however they were written. */
export function recipeHash(recipe: Recipe): string {
  return sha256Hex(canonicalJson(recipe));
}

/** What the caller of a recipe must have at hand. */
export function recipeNeeds(recipe: Recipe): RecipeNeeds {
  return { samples: bindPasses(recipe).some(({ needsSamples }) => needsSamples) };
}

function parseYaml(text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw invalid([cause instanceof Error ? cause.message : "it is not YAML"], cause);
  }
}

function invalid(faults: readonly string[], cause?: unknown): FleetError {
  return new FleetError(
    "recipe-invalid",
    `the recipes are not valid (${faults.join("; ")}): correct the file`,
    { details: { faults }, ...(cause === undefined ? {} : { cause }) },
  );
}
