/** Reads classes, regions and recipes from the operator's folder; what is missing there has defaults. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Files } from "../../shared/ports/files.ts";
import { parseRecipes } from "../compress/recipe.ts";
import type { FleetConfig } from "../context.ts";
import { parseClasses } from "./classes.ts";
import { parseRegions } from "./regions.ts";

const yamlBytesMax = 4_000_000;
const defaults = {
  "classes.yaml": new URL("../config/classes.yaml", import.meta.url),
  "regions.yaml": new URL("../config/regions.yaml", import.meta.url),
  "recipes.yaml": new URL("../compress/recipes.yaml", import.meta.url),
} as const;

/** Errors: `config-invalid`, `recipe-invalid`. */
export async function loadFleetConfig(
  files: Files,
  configDir: string | undefined,
): Promise<FleetConfig> {
  const read = async (name: keyof typeof defaults): Promise<string> => {
    const own = configDir === undefined ? undefined : join(configDir, name);
    const path =
      own !== undefined && (await files.stat(own)) !== undefined
        ? own
        : fileURLToPath(defaults[name]);
    return new TextDecoder().decode(await files.read(path, { maxBytes: yamlBytesMax }));
  };
  return {
    classes: parseClasses(await read("classes.yaml")),
    regions: parseRegions(await read("regions.yaml")),
    recipes: parseRecipes(await read("recipes.yaml")),
  };
}
