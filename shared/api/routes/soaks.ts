/** What devices find out after a commit, and the labels that they ask people for. */
import { z } from "zod";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { soakHistogramsSchema, soakVerdictSchema } from "../../protocol/messages/soak-report.ts";
import { defineRoute } from "../route.ts";

const soakSchema = z
  .object({
    attempt: z.string(),
    rollout: z.string(),
    device: z.string(),
    model: z.string(),
    version: z.string(),
    verdict: soakVerdictSchema,
    code: z.string(),
    why: z.string(),
    /** Counts, and ln E of each process. */
    numbers: z.record(z.string(), z.number()),
    histograms: soakHistogramsSchema,
    warnings: z.array(z.string()),
    servingSha256: z.string().nullable(),
    receivedAtMs: z.int(),
  })
  .meta({ id: "SoakReport" });

const labelRequestSchema = z
  .object({
    id: z.string(),
    attempt: z.string(),
    sample: z.string(),
    device: z.string(),
    model: z.string(),
    version: z.string(),
    /** Names of the classes, in the words of the model. */
    newModelSays: z.string(),
    oldModelSays: z.string(),
    status: z.enum(["open", "answered"]),
    /** Null while it is open, and when a person could not tell. */
    label: z.string().nullable(),
    requestedAtMs: z.int(),
    answeredAtMs: z.int().nullable(),
  })
  .meta({ id: "LabelRequest" });

const oneRequestSchema = labelRequestSchema
  .extend({
    /** Raw bytes per input, as base64, as the inference API of the device took them. */
    inputs: z.record(z.string(), z.string()),
    /** What stands in those of them that a tokenizer reads. */
    texts: z.record(z.string(), z.string()),
  })
  .meta({ id: "LabelRequestWithSample" });

const requestParams = z.object({ request: z.string().max(160) });

export const soakRoutes = {
  listSoaks: defineRoute({
    method: "GET",
    path: "/v1/soaks",
    summary: "What devices found out about models after their commit, newest first.",
    tag: "soaks",
    query: z.object({ rollout: nameSchema.optional(), device: nameSchema.optional() }),
    answer: z.object({ soaks: z.array(soakSchema) }),
  }),
  listLabelRequests: defineRoute({
    method: "GET",
    path: "/v1/labels",
    summary: "Live samples on which two models differ and that devices want a label for.",
    tag: "soaks",
    query: z.object({
      model: modelNameSchema.optional(),
      status: z.enum(["open", "answered"]).optional(),
    }),
    answer: z.object({ requests: z.array(labelRequestSchema) }),
  }),
  getLabelRequest: defineRoute({
    method: "GET",
    path: "/v1/labels/{request}",
    summary: "One request with its sample.",
    tag: "soaks",
    params: requestParams,
    answer: oneRequestSchema,
    errors: ["not-found"],
  }),
  answerLabelRequest: defineRoute({
    method: "POST",
    path: "/v1/labels/{request}",
    summary: "Answers a request; the device counts it and may take its model back.",
    tag: "soaks",
    params: requestParams,
    body: z.object({
      /** Name or number of the class; null when nobody can tell. */
      label: z.string().max(256).nullable(),
    }),
    answer: oneRequestSchema,
    errors: ["not-found", "input-invalid", "conflict"],
  }),
};
