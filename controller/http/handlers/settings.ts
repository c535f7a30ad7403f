/** Device classes, recipes and regions as the operator wrote them. */
import type { settingsRoutes } from "../../../shared/api/routes/settings.ts";
import { FleetError } from "../../../shared/errors.ts";
import { findPass } from "../../compress/passes/registry.ts";
import { type Recipe, recipeNeeds } from "../../compress/recipe.ts";
import type { ControllerContext } from "../../context.ts";
import { classOf, type DeviceClass, explainClasses, parseClasses } from "../../fleet/classes.ts";
import { listDevices } from "../../fleet/devices.ts";
import type { Handlers } from "./handler.ts";

export const settingsHandlers: Handlers<keyof typeof settingsRoutes> = {
  async listClasses({ ctx }) {
    const counts = await devicesByClass(ctx);
    return { classes: ctx.fleet.classes.map((each) => withCount(each, counts)) };
  },
  async getClass({ ctx }, { params }) {
    const found = ctx.fleet.classes.find(({ name }) => name === params.class);
    if (found === undefined) {
      throw new FleetError("not-found", `there is no class named ${params.class}`);
    }
    return withCount(found, await devicesByClass(ctx));
  },
  async checkClasses({ ctx }, { body }) {
    const classes = body.yaml === undefined ? ctx.fleet.classes : parseClasses(body.yaml);
    const devices = await listDevices(ctx);
    return {
      devices: devices.map((device) => ({
        device: device.id,
        deviceClass: classOf(device, classes),
        classes: explainClasses(device, classes),
      })),
    };
  },
  async listRecipes({ ctx }) {
    return { recipes: ctx.fleet.recipes.map(recipeOf) };
  },
  async getRecipe({ ctx }, { params }) {
    const found = ctx.fleet.recipes.find(({ name }) => name === params.recipe);
    if (found !== undefined) return recipeOf(found);
    throw new FleetError("recipe-unknown", `there is no recipe named ${params.recipe}`);
  },
  async listRegions({ ctx }) {
    return {
      regions: ctx.fleet.regions.map(({ name, title, timeZone, link, install }) => ({
        name,
        title,
        timeZone: timeZone ?? null,
        link: { ...link },
        install,
      })),
    };
  },
};

async function devicesByClass(ctx: ControllerContext): Promise<Map<string, number>> {
  const rows = await ctx.db
    .selectFrom("devices")
    .select((eb) => ["deviceClass", eb.fn.countAll<number>().as("count")])
    .where("standing", "!=", "retired")
    .groupBy("deviceClass")
    .execute();
  return new Map(rows.map(({ deviceClass, count }) => [deviceClass ?? "", Number(count)]));
}

function withCount(each: DeviceClass, counts: ReadonlyMap<string, number>) {
  const { name, summary, recipes, objective } = each;
  // Options that are left out are absent in JSON, never undefined.
  const match = JSON.parse(JSON.stringify(each.match)) as Record<string, unknown>;
  const budget = JSON.parse(JSON.stringify(each.budget)) as { metricFloor: number };
  return { name, summary, match, budget, recipes, objective, devices: counts.get(name) ?? 0 };
}

function recipeOf(recipe: Recipe) {
  return {
    name: recipe.name,
    summary: recipe.summary,
    notFor: recipe.notFor ?? null,
    needsCalibration: recipeNeeds(recipe).samples,
    passes: recipe.passes.map(({ pass, options }) => ({
      pass,
      summary: findPass(pass)?.summary ?? "",
      options: options ?? {},
    })),
  };
}
