/** Tokens of the API. */
import type { tokenRoutes } from "../../../shared/api/routes/tokens.ts";
import { listTokens } from "../../storage/api-tokens/repository.ts";
import { createApiToken, revokeApiToken } from "../../trust/api-tokens.ts";
import type { Handlers } from "./handler.ts";

export const tokenHandlers: Handlers<keyof typeof tokenRoutes> = {
  createToken: ({ ctx }, { body }, caller) => createApiToken(ctx, body.name, caller.name),
  async listTokens({ ctx }) {
    return { tokens: await listTokens(ctx.db) };
  },
  revokeToken: ({ ctx }, { params }, caller) => revokeApiToken(ctx, params.token, caller.name),
};
