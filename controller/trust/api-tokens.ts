/**
 * Tokens beside the first one, each with a name, so that approvals come from different people.
 *
 * Invariants: a name belongs to one live token; only admin makes and revokes them, and both are events.
 */
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { insertToken, listTokens, revokeToken } from "../storage/api-tokens/repository.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { hashText } from "./claims.ts";

const tokenBytes = 32;
const idBytes = 8;
const adminName = "admin";

/** Errors: `unauthorized`, `conflict` when the name is in use. */
export async function createApiToken(ctx: ControllerContext, name: string, by: string) {
  requireAdmin(by);
  const token = Buffer.from(ctx.random.bytes(tokenBytes)).toString("base64url");
  const id = `t-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`;
  const createdAtMs = ctx.clock.wallMs();
  await ctx.db.transaction().execute(async (trx) => {
    const live = (await listTokens(trx)).filter(({ revokedAtMs }) => revokedAtMs === null);
    if (name === adminName || live.some((each) => each.name === name)) {
      throw new FleetError("conflict", `there is a token named ${name}`);
    }
    await insertToken(trx, { id, name, tokenSha256: hashText(token), createdAtMs });
    const message = `${name}, by ${by}`;
    await recordEvent(trx, { atMs: createdAtMs, kind: "token-created", subject: id, message });
  });
  return { id, name, createdAtMs, revokedAtMs: null, token };
}

/** Errors: `unauthorized`, `not-found`, `conflict` for the first token. */
export async function revokeApiToken(ctx: ControllerContext, id: string, by: string) {
  requireAdmin(by);
  return ctx.db.transaction().execute(async (trx) => {
    const found = (await listTokens(trx)).find((each) => each.id === id);
    if (found === undefined) throw new FleetError("not-found", `there is no token ${id}`);
    if (found.name === adminName) {
      throw new FleetError("conflict", "the first token opens what made it and stays");
    }
    if (found.revokedAtMs !== null) return found;
    const revokedAtMs = ctx.clock.wallMs();
    await revokeToken(trx, id, revokedAtMs);
    const message = `${found.name}, by ${by}`;
    await recordEvent(trx, { atMs: revokedAtMs, kind: "token-revoked", subject: id, message });
    return { ...found, revokedAtMs };
  });
}

function requireAdmin(by: string): void {
  if (by !== adminName) throw new FleetError("unauthorized", `${by} may not change tokens`);
}
