/** The kill switch. */
import { z } from "zod";
import { holdReasonSchema, holdScopeSchema } from "../../artifact/hold.ts";
import { defineRoute } from "../route.ts";

const holdSchema = z
  .object({
    scope: holdScopeSchema,
    /** Rises with each hold and release of the scope. */
    sequence: z.int(),
    held: z.boolean(),
    reason: z.string(),
    issuedAtMs: z.int(),
    devices: z.object({
      /** Devices of the scope that are not retired. */
      total: z.int(),
      /** Those that reported this document or a newer one. */
      reached: z.int(),
      /** Those whose agent is too old to know holds. */
      tooOld: z.int(),
    }),
  })
  .meta({ id: "Hold" });
export type HoldAnswer = z.infer<typeof holdSchema>;

export const holdRoutes = {
  changeHold: defineRoute({
    method: "POST",
    path: "/v1/holds",
    summary: "Holds or releases every install of the tenant or of one region, at once.",
    tag: "holds",
    body: z.object({ scope: holdScopeSchema, held: z.boolean(), reason: holdReasonSchema }),
    answer: holdSchema,
    errors: ["not-found"],
  }),
  listHolds: defineRoute({
    method: "GET",
    path: "/v1/holds",
    summary: "The newest hold or release of each scope, and how many devices know it.",
    tag: "holds",
    answer: z.object({ holds: z.array(holdSchema) }),
  }),
};
