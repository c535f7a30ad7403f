/** A last will, which counts only for the session that it was made for. */

import { willApplies } from "../../fleet/presence.ts";
import type { DirectHandler } from "./handler.ts";

export const onDeath: DirectHandler<"death"> = async (ctx, sender, { session }) => {
  const known = await ctx.db
    .selectFrom("devices")
    .select(["session", "boot", "online"])
    .where("id", "=", sender.device)
    .executeTakeFirst();
  if (known === undefined) return;
  const presence = { session: known.session, boot: known.boot, online: known.online === 1 };
  if (!willApplies(presence, { session, boot: sender.boot })) return;
  await ctx.db
    .updateTable("devices")
    .set({ online: 0, lastSeenAtMs: ctx.clock.wallMs() })
    .where("id", "=", sender.device)
    .where("session", "=", session)
    .execute();
};
