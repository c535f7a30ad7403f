/** Latency and errors per region and per device, by adding the histograms of windows. */
import {
  type HistogramData,
  histogramSchema,
} from "../../shared/protocol/messages/telemetry-window.ts";
import { emptyHistogram, mergeHistograms, quantile } from "../../shared/telemetry/histogram.ts";
import type { ControllerContext } from "../context.ts";

export interface TelemetrySummary {
  readonly inferences: number;
  /** Errors and timeouts over all calls; null without calls. */
  readonly errorFraction: number | null;
  readonly latencyP50Ms: number | null;
  readonly latencyP90Ms: number | null;
  /** Bundles that answered, newest window last. */
  readonly bundles: readonly string[];
}

interface Filter {
  readonly model: string;
  /** Windows that arrived since; all when left out. */
  readonly sinceMs?: number | undefined;
}

export async function regionSummaries(
  ctx: ControllerContext,
  filter: Filter,
): Promise<(TelemetrySummary & { region: string; devices: number })[]> {
  const rows = await windowsOf(ctx, filter);
  return group(rows, ({ region }) => region).map(([region, windows]) => ({
    region,
    devices: new Set(windows.map(({ device }) => device)).size,
    ...summarise(windows),
  }));
}

export async function deviceSummaries(
  ctx: ControllerContext,
  filter: Filter,
): Promise<(TelemetrySummary & { device: string })[]> {
  const rows = await windowsOf(ctx, filter);
  return group(rows, ({ device }) => device).map(([device, windows]) => ({
    device,
    ...summarise(windows),
  }));
}

type Window = Awaited<ReturnType<typeof windowsOf>>[number];

function windowsOf(ctx: ControllerContext, { model, sinceMs }: Filter) {
  return ctx.db
    .selectFrom("telemetryWindows")
    .select(["device", "region", "bundleSha256", "ok", "errors", "timeouts", "histogramJson"])
    .where("model", "=", model)
    .where("receivedAtMs", ">=", sinceMs ?? 0)
    .orderBy("id")
    .execute();
}

function group(rows: readonly Window[], keyOf: (row: Window) => string): [string, Window[]][] {
  const groups = new Map<string, Window[]>();
  for (const row of rows) {
    const members = groups.get(keyOf(row));
    if (members === undefined) groups.set(keyOf(row), [row]);
    else members.push(row);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}

function summarise(windows: readonly Window[]): TelemetrySummary {
  const sum = (pick: (row: Window) => number) =>
    windows.reduce((total, row) => total + pick(row), 0);
  const failed = sum(({ errors, timeouts }) => errors + timeouts);
  const inferences = failed + sum(({ ok }) => ok);
  const latency = windows.reduce<HistogramData>(
    (merged, row) => mergeHistograms(merged, histogramSchema.parse(JSON.parse(row.histogramJson))),
    emptyHistogram(),
  );
  return {
    inferences,
    errorFraction: inferences === 0 ? null : failed / inferences,
    latencyP50Ms: quantile(latency, 0.5),
    latencyP90Ms: quantile(latency, 0.9),
    bundles: [...new Set(windows.map(({ bundleSha256 }) => bundleSha256))],
  };
}
