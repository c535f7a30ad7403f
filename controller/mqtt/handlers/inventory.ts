/** The probed profile: stored, and the class matched again. */

import { profileFingerprint } from "../../../shared/devices/profile.ts";
import { classOf } from "../../fleet/classes.ts";
import { recordClassChange } from "../../fleet/devices.ts";
import { deviceAppeared } from "../../rollout/advance.ts";
import type { OutboxHandler } from "./handler.ts";

export const onInventory: OutboxHandler<"inventory"> = async (ctx, trx, { device }, payload) => {
  const { profile, agentVersion } = payload;
  const row = await trx
    .selectFrom("devices")
    .select(["labelsJson", "deviceClass"])
    .where("id", "=", device)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const labels = JSON.parse(row.labelsJson) as Record<string, string>;
  const deviceClass = classOf({ profile, labels }, ctx.fleet.classes);
  await trx
    .updateTable("devices")
    .set({
      profileJson: JSON.stringify(profile),
      fingerprint: profileFingerprint(profile),
      emulated: profile.emulated ? 1 : 0,
      deviceClass,
      agentVersion,
    })
    .where("id", "=", device)
    .execute();
  if (deviceClass === row.deviceClass) return undefined;
  const change = { device, before: row.deviceClass, after: deviceClass };
  await recordClassChange(trx, ctx.clock.wallMs(), change);
  return () => deviceAppeared(ctx, device);
};
