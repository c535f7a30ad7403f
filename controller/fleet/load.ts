/** Reads classes, regions and recipes from the operator's folder; what is missing there has defaults. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FleetError, isFleetError } from "../../shared/errors.ts";
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

/** Errors: `config-invalid`, `recipe-invalid`; faults of several files are told together. */
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
  const faults: FleetError[] = [];
  const parsed = async <T>(name: keyof typeof defaults, parse: (text: string) => T) => {
    try {
      return parse(await read(name));
    } catch (error) {
      if (!isFleetError(error)) throw error;
      faults.push(error);
      return undefined;
    }
  };
  const classes = await parsed("classes.yaml", parseClasses);
  const regions = await parsed("regions.yaml", parseRegions);
  const recipes = await parsed("recipes.yaml", parseRecipes);
  if (classes !== undefined && regions !== undefined && recipes !== undefined) {
    return { classes, regions, recipes };
  }
  const [first] = faults;
  if (first !== undefined && faults.length === 1) throw first;
  throw new FleetError("config-invalid", faults.map(({ message }) => message).join("\n"));
}
