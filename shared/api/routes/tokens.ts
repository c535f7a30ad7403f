/** Tokens of the API: one per person or program, so that what they do has a name. */
import { z } from "zod";
import { nameSchema } from "../../artifact/names.ts";
import { defineRoute } from "../route.ts";

const tokenSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    createdAtMs: z.int(),
    revokedAtMs: z.int().nullable(),
  })
  .meta({ id: "Token" });

export const tokenRoutes = {
  createToken: defineRoute({
    method: "POST",
    path: "/v1/tokens",
    summary: "Makes a token with a name of its own; only the first one, admin, may.",
    tag: "tokens",
    body: z.object({ name: nameSchema }),
    /** The token is shown once and stored as a hash. */
    answer: tokenSchema.extend({ token: z.string() }).meta({ id: "NewToken" }),
    status: 201,
    errors: ["conflict", "unauthorized"],
  }),
  listTokens: defineRoute({
    method: "GET",
    path: "/v1/tokens",
    summary: "All tokens by name, without what opens.",
    tag: "tokens",
    answer: z.object({ tokens: z.array(tokenSchema) }),
  }),
  revokeToken: defineRoute({
    method: "POST",
    path: "/v1/tokens/{token}/revoke",
    summary: "Ends a token for good; only admin may, and its own stays.",
    tag: "tokens",
    params: z.object({ token: nameSchema }),
    answer: tokenSchema,
    errors: ["not-found", "conflict", "unauthorized"],
  }),
};
