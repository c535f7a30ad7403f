/** A device is there: pair its session, look for clones, tell it what is wanted. */
import type { Updateable } from "kysely";
import { publishDesired } from "../../fleet/desired.ts";
import { storeStanding } from "../../fleet/devices.ts";
import { publishHolds } from "../../fleet/holds.ts";
import { judgeBirth } from "../../fleet/presence.ts";
import { isWorthNoting } from "../../retention/marks.ts";
import { deviceAppeared } from "../../rollout/advance.ts";
import { publishLabels } from "../../soak/labels.ts";
import type { Database } from "../../storage/database.ts";
import { prepared } from "../../storage/prepared.ts";
import type { DeviceTable } from "../../storage/schema.ts";
import type { DirectHandler } from "./handler.ts";

/** Boots of a device that are remembered. */
const bootsKept = 100;

export const onBirth: DirectHandler<"birth"> = async (ctx, sender, birth) => {
  const { device, boot } = sender;
  const { session, agentVersion } = birth;
  const nowMs = ctx.clock.wallMs();
  const allowed = await ctx.db.transaction().execute(async (trx) => {
    const [known] = (await presenceOf(trx, { device })).rows;
    if (known === undefined || known.standing === "retired") return false;
    const seen = (await bootOf(trx, { device, boot })).rows.length > 0;
    const judged = judgeBirth(
      { session: known.session, boot: known.boot, online: known.online === 1 },
      { session, boot, bootSeenBefore: seen },
    );
    const isEmpty = birth.outboxPending === 0 && isWorthNoting(known.outboxEmptyAtMs, nowMs);
    const noted = isEmpty ? { outboxEmptyAtMs: nowMs } : {};
    if (judged.kind === "repeated") {
      // A late copy of an older session says nothing of now.
      if (isEmpty && known.session === session) await changeDevice(trx, device, noted);
      return true;
    }
    await storeBoot(trx, { device, boot, session, atMs: nowMs });
    if (!seen) await forgetOldBoots(trx, { device });
    if (judged.kind === "clone") {
      const { reason } = judged;
      await storeStanding(trx, nowMs, { id: device, standing: "quarantined", reason });
    } else {
      const present = { session, boot, online: 1, lastSeenAtMs: nowMs, agentVersion };
      await changeDevice(trx, device, { ...present, ...noted });
    }
    return true;
  });
  if (!allowed) {
    // It connected in the moment in which it was retired.
    ctx.disconnect(device);
    return;
  }
  await publishHolds(ctx, { device });
  await deviceAppeared(ctx, device);
  await publishDesired(ctx, [device]);
  await publishLabels(ctx, device);
};

async function changeDevice(
  trx: Database,
  device: string,
  change: Updateable<DeviceTable>,
): Promise<void> {
  await trx.updateTable("devices").set(change).where("id", "=", device).execute();
}

const presenceOf = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("devices")
    .select(["session", "boot", "online", "standing", "outboxEmptyAtMs"])
    .where("id", "=", device),
);

const bootOf = prepared((db, { device, boot }: { device: string; boot: string }) =>
  db.selectFrom("deviceBoots").select("boot").where("device", "=", device).where("boot", "=", boot),
);

type Born = { device: string; boot: string; session: number; atMs: number };

const storeBoot = prepared((db, { device, boot, session, atMs }: Born) =>
  db
    .insertInto("deviceBoots")
    .values({ device, boot, sessionFirst: session, sessionLast: session, firstSeenAtMs: atMs })
    .onConflict((conflict) =>
      conflict.columns(["device", "boot"]).doUpdateSet({ sessionLast: session }),
    ),
);

/** The newest are enough to know a copy of the disk by its boot. */
const forgetOldBoots = prepared((db, { device }: { device: string }) =>
  db
    .deleteFrom("deviceBoots")
    .where("device", "=", device)
    .where("boot", "in", (query) =>
      query
        .selectFrom("deviceBoots")
        .select("boot")
        .where("device", "=", device)
        .orderBy("firstSeenAtMs", "desc")
        .limit(-1)
        .offset(bootsKept),
    ),
);
