/**
 * The stages of a rollout, as a client orders them.
 *
 * Invariant: every field but name and selection has a default, so that stages of older clients and of
 * stored rollouts mean what they meant.
 */
import { z } from "zod";
import { nameSchema } from "../artifact/names.ts";

const dayMs = 86_400_000;

/** A part of what a selector matches, spread over regions and classes. */
const limitSchema = z.union([
  z.strictObject({ count: z.int().min(1) }),
  z.strictObject({ percent: z.number().gt(0).max(100) }),
]);

const valueSchema = z.union([z.string().max(256), z.number(), z.boolean()]);

/** One condition on a device; all conditions of a query have to hold. */
const conditionSchema = z
  .strictObject({
    /** `region`, `class`, `labels.NAME` or `profile.NAME`. */
    field: z
      .string()
      .regex(
        /^(region|class|labels\.[a-z0-9][a-z0-9._-]{0,63}|profile\.[a-zA-Z0-9]{1,32})$/,
        "region, class, labels.NAME or profile.NAME",
      ),
    equals: valueSchema.optional(),
    oneOf: z.array(valueSchema).min(1).max(100).optional(),
    min: z.number().optional(),
    max: z.number().optional(),
  })
  .refine(
    ({ field: _field, ...tests }) => Object.values(tests).some((test) => test !== undefined),
    "a condition needs equals, oneOf, min or max",
  );
export type Condition = z.infer<typeof conditionSchema>;

/** Which devices a stage adds; those of earlier stages are left out. */
const stageSelectorSchema = z.discriminatedUnion("by", [
  z.object({ by: z.literal("per-class"), count: z.int().min(1) }),
  z.object({ by: z.literal("count"), count: z.int().min(1) }),
  z.object({ by: z.literal("percent"), percent: z.number().min(0).max(100) }),
  z.object({
    by: z.literal("regions"),
    regions: z.array(nameSchema).min(1),
    limit: limitSchema.optional(),
  }),
  z.object({
    by: z.literal("classes"),
    classes: z.array(nameSchema).min(1),
    limit: limitSchema.optional(),
  }),
  z.object({ by: z.literal("devices"), devices: z.array(nameSchema).min(1) }),
  z.object({
    by: z.literal("query"),
    where: z.array(conditionSchema).min(1).max(16),
    limit: limitSchema.optional(),
  }),
  z.object({ by: z.literal("all") }),
]);

export const stageSchema = z
  .object({
    name: nameSchema,
    select: stageSelectorSchema,
    /** `manual`: after its verdict the stage waits until somebody promotes it. */
    gate: z.enum(["automatic", "manual"]).default("automatic"),
    /** How long a device may take from its offer on, and how long the stage waits for who is away. */
    deadlineMs: z
      .int()
      .min(1_000)
      .max(90 * dayMs)
      .default(3_600_000),
    /** Time that has to pass after the last commit of the stage before it may pass. */
    soakMs: z
      .int()
      .min(0)
      .max(90 * dayMs)
      .default(0),
    /** Most undecided offers at a time in one region; null for any number. */
    concurrentMax: z.int().min(1).nullable().default(null),
    /**
     * Most undecided offers at a time on one link: a number for each link, or one for each that is named.
     * A link is a device's label `link`, else the kind that its region states; null for any number.
     */
    concurrentPerLink: z
      .union([z.int().min(1), z.record(nameSchema, z.int().min(1))])
      .nullable()
      .default(null),
    /** Most offers of this rollout in one minute; null for any number. */
    offersPerMinuteMax: z.int().min(1).nullable().default(null),
    /** How many attempts of this stage may be tried again when the world and not the model failed. */
    retryBudget: z.int().min(0).max(100_000).default(0),
  })
  .meta({ id: "Stage" });
export type Stage = z.infer<typeof stageSchema>;
/** A stage as it is ordered: what has a default may be left out. */
export type StageOrder = z.input<typeof stageSchema>;
