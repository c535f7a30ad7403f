/** Bearer tokens (RFC 6750). Only hashes are stored, so a copy of the database opens nothing. */
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { findToken, insertToken } from "../storage/api-tokens/repository.ts";
import { adminTokenSha256 } from "../trust/admin-token.ts";
import { hashText } from "../trust/claims.ts";

const idBytes = 8;

/** Makes the operator's token at the first start; a token file that came from a backup stays valid. */
export async function ensureAdminToken(ctx: ControllerContext): Promise<void> {
  const tokenSha256 = await adminTokenSha256(ctx);
  if ((await findToken(ctx.db, tokenSha256)) !== undefined) return;
  await insertToken(ctx.db, {
    id: `t-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`,
    name: "admin",
    tokenSha256,
    createdAtMs: ctx.clock.wallMs(),
  });
}

/** Name of the token that a request carries. Errors: `unauthorized`. */
export async function authorize(
  ctx: ControllerContext,
  authorization: string | undefined,
): Promise<string> {
  const token = /^Bearer (\S+)$/i.exec(authorization ?? "")?.[1];
  // Tokens are 256 random bits, so looking their hash up tells nothing by its time.
  const name = token === undefined ? undefined : await findToken(ctx.db, hashText(token));
  if (name !== undefined) return name;
  throw new FleetError("unauthorized", "this needs a valid bearer token");
}
