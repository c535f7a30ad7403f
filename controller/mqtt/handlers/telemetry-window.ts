/**
 * One window of serving, stored with the class that the device has now and the region of its time. A
 * device names only regions that it has been in; anything else counts where it is now.
 */
import { watchWindow } from "../../telemetry/watch.ts";
import type { OutboxHandler } from "./handler.ts";

export const onTelemetryWindow: OutboxHandler<"telemetry-window"> = async (
  ctx,
  trx,
  { device },
  window,
) => {
  const row = await trx
    .selectFrom("devices")
    .select(["deviceClass", "region"])
    .where("id", "=", device)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const placed = await trx
    .selectFrom("devicePlacements")
    .select("region")
    .where("device", "=", device)
    .where("region", "=", window.region)
    .executeTakeFirst();
  const stored = {
    device,
    model: window.model,
    bundleSha256: window.bundleSha256,
    region: placed?.region ?? row.region,
    deviceClass: row.deviceClass,
    startedAtMs: window.startedAtMs,
    durationMs: window.durationMs,
    ok: window.ok,
    errors: window.errors,
    timeouts: window.timeouts,
    histogramJson: JSON.stringify(window.latency),
    ramPeakBytes: window.ramPeakBytes,
    emulated: window.emulated ? 1 : 0,
    receivedAtMs: ctx.clock.wallMs(),
  };
  await trx.insertInto("telemetryWindows").values(stored).execute();
  await watchWindow(trx, stored, ctx.config.telemetryWindowMs);
  return undefined;
};
