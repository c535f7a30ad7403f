/** A last will, which counts only for the session that it was made for. */

import { storeAbsence } from "../../fleet/absence.ts";
import { willApplies } from "../../fleet/presence.ts";
import type { DirectHandler } from "./handler.ts";

export const onDeath: DirectHandler<"death"> = async (ctx, sender, { session }) => {
  const known = await ctx.db
    .selectFrom("devices")
    .select(["id", "session", "boot", "online", "lastSeenAtMs"])
    .where("id", "=", sender.device)
    .executeTakeFirst();
  if (known === undefined) return;
  const presence = { session: known.session, boot: known.boot, online: known.online === 1 };
  if (!willApplies(presence, { session, boot: sender.boot })) return;
  await storeAbsence(ctx, ctx.db, known);
};
