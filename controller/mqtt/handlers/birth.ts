/** A device is there: pair its session, look for clones, tell it what is wanted. */

import { publishDesired } from "../../fleet/desired.ts";
import { storeStanding } from "../../fleet/devices.ts";
import { publishHolds } from "../../fleet/holds.ts";
import { judgeBirth } from "../../fleet/presence.ts";
import { deviceAppeared } from "../../rollout/advance.ts";
import { publishLabels } from "../../soak/labels.ts";
import type { DirectHandler } from "./handler.ts";

export const onBirth: DirectHandler<"birth"> = async (ctx, sender, { session, agentVersion }) => {
  const { device, boot } = sender;
  const nowMs = ctx.clock.wallMs();
  const allowed = await ctx.db.transaction().execute(async (trx) => {
    const known = await trx
      .selectFrom("devices")
      .select(["session", "boot", "online", "standing"])
      .where("id", "=", device)
      .executeTakeFirst();
    if (known === undefined || known.standing === "retired") return false;
    const seen = await trx
      .selectFrom("deviceBoots")
      .select("boot")
      .where("device", "=", device)
      .where("boot", "=", boot)
      .executeTakeFirst();
    const judged = judgeBirth(
      { session: known.session, boot: known.boot, online: known.online === 1 },
      { session, boot, bootSeenBefore: seen !== undefined },
    );
    if (judged.kind === "repeated") return true;
    await trx
      .insertInto("deviceBoots")
      .values({ device, boot, sessionFirst: session, sessionLast: session, firstSeenAtMs: nowMs })
      .onConflict((conflict) =>
        conflict.columns(["device", "boot"]).doUpdateSet({ sessionLast: session }),
      )
      .execute();
    if (judged.kind === "clone") {
      const { reason } = judged;
      await storeStanding(trx, nowMs, { id: device, standing: "quarantined", reason });
    } else {
      await trx
        .updateTable("devices")
        .set({ session, boot, online: 1, lastSeenAtMs: nowMs, agentVersion })
        .where("id", "=", device)
        .execute();
    }
    return true;
  });
  if (!allowed) {
    // It connected in the moment in which it was retired.
    ctx.disconnect(device);
    return;
  }
  await publishHolds(ctx, { device });
  await publishDesired(ctx, [...new Set([device, ...(await deviceAppeared(ctx, device))])]);
  await publishLabels(ctx, device);
};
