/** One window of serving, stored with the class that the device has now and the region of its time. */
import type { OutboxHandler } from "./handler.ts";

export const onTelemetryWindow: OutboxHandler<"telemetry-window"> = async (
  ctx,
  trx,
  { device },
  window,
) => {
  const row = await trx
    .selectFrom("devices")
    .select("deviceClass")
    .where("id", "=", device)
    .executeTakeFirst();
  await trx
    .insertInto("telemetryWindows")
    .values({
      device,
      model: window.model,
      bundleSha256: window.bundleSha256,
      region: window.region,
      deviceClass: row?.deviceClass ?? null,
      startedAtMs: window.startedAtMs,
      durationMs: window.durationMs,
      ok: window.ok,
      errors: window.errors,
      timeouts: window.timeouts,
      histogramJson: JSON.stringify(window.latency),
      ramPeakBytes: window.ramPeakBytes,
      emulated: window.emulated ? 1 : 0,
      receivedAtMs: ctx.clock.wallMs(),
    })
    .execute();
  return undefined;
};
