/** What operators write as YAML: device classes, regions and recipes. */
import { z } from "zod";
import { installPolicySchema } from "../../artifact/install-policy.ts";
import { nameSchema } from "../../artifact/names.ts";
import { defineRoute } from "../route.ts";
import { deviceExplanationSchema } from "./devices.ts";

const classSchema = z
  .object({
    name: z.string(),
    summary: z.string(),
    /** Rules over the device's profile; all must hold. */
    match: z.record(z.string(), z.unknown()),
    budget: z.object({
      modelBytesMax: z.number().optional(),
      ramPeakBytesMax: z.number().optional(),
      latencyMsMax: z.number().optional(),
      metricFloor: z.number(),
    }),
    recipes: z.array(z.string()),
    objective: z.enum(["size", "latency", "accuracy"]),
  })
  .meta({ id: "DeviceClass" });

const recipeSchema = z
  .object({
    name: z.string(),
    summary: z.string(),
    notFor: z.string().nullable(),
    /** True when samples are needed to observe activations. */
    needsCalibration: z.boolean(),
    passes: z.array(
      z.object({
        pass: z.string(),
        /** What the pass does, in one sentence. */
        summary: z.string(),
        options: z.record(z.string(), z.unknown()),
      }),
    ),
  })
  .meta({ id: "Recipe" });

const regionSchema = z
  .object({
    name: z.string(),
    title: z.string(),
    timeZone: z.string().nullable(),
    link: z.record(z.string(), z.unknown()),
    /** When devices there may install. */
    install: installPolicySchema.omit({ timeZone: true }),
  })
  .meta({ id: "Region" });

/** Longest YAML text that is checked, in characters. */
const yamlLengthMax = 200_000;

export const settingsRoutes = {
  listClasses: defineRoute({
    method: "GET",
    path: "/v1/classes",
    summary: "Device classes in their order; the first that matches a device wins.",
    tag: "settings",
    answer: z.object({ classes: z.array(classSchema.extend({ devices: z.int() })) }),
  }),
  getClass: defineRoute({
    method: "GET",
    path: "/v1/classes/{class}",
    summary: "One device class.",
    tag: "settings",
    params: z.object({ class: nameSchema }),
    answer: classSchema.extend({ devices: z.int() }),
    errors: ["not-found"],
  }),
  checkClasses: defineRoute({
    method: "POST",
    path: "/v1/classes/check",
    summary: "Says for each device which classes match and why not the others; nothing is changed.",
    tag: "settings",
    body: z.object({
      /** Text of an edited classes.yaml; the one in use when it is left out. */
      yaml: z.string().max(yamlLengthMax).optional(),
    }),
    answer: z.object({ devices: z.array(deviceExplanationSchema) }),
    errors: ["config-invalid"],
  }),
  listRecipes: defineRoute({
    method: "GET",
    path: "/v1/recipes",
    summary: "The recipes that compression may use.",
    tag: "settings",
    answer: z.object({ recipes: z.array(recipeSchema) }),
  }),
  getRecipe: defineRoute({
    method: "GET",
    path: "/v1/recipes/{recipe}",
    summary: "One recipe with what each of its passes does.",
    tag: "settings",
    params: z.object({ recipe: nameSchema }),
    answer: recipeSchema,
    errors: ["recipe-unknown"],
  }),
  listRegions: defineRoute({
    method: "GET",
    path: "/v1/regions",
    summary: "Where devices are and what a link there costs.",
    tag: "settings",
    answer: z.object({ regions: z.array(regionSchema) }),
  }),
};
