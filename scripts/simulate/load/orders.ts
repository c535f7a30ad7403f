/** What the parent of a controller under load says to it, and what it is told. */
import { z } from "zod";
import type { Log } from "../../../shared/ports/log.ts";

export const loadOrderSchema = z.discriminatedUnion("order", [
  z.object({ order: z.literal("claims"), devices: z.array(z.string()) }),
  /** A new version, to all devices at once. */
  z.object({ order: z.literal("roll"), version: z.string() }),
  z.object({ order: z.literal("status"), rollout: z.string() }),
  z.object({ order: z.literal("totals") }),
  z.object({ order: z.literal("stop") }),
]);
export type LoadOrder = z.infer<typeof loadOrderSchema>;

export const loadStatusSchema = z.object({
  status: z.string(),
  reason: z.string().nullable(),
  /** Attempts of all rollouts that have no outcome. */
  open: z.int(),
});
export type LoadStatus = z.infer<typeof loadStatusSchema>;

export const loadTotalsSchema = z.object({
  /** Attempts of all rollouts that have an outcome, that have none, and that have several. */
  decided: z.int(),
  lost: z.int(),
  doubled: z.int(),
  /** Of the whole controller process since its start. */
  cpuMs: z.number(),
  rssPeakBytes: z.number(),
});
export type LoadTotals = z.infer<typeof loadTotalsSchema>;

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
