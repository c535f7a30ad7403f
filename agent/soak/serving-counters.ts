/**
 * How each bundle did in service lately, in short spans of operating time, so that the time before an
 * update can be held against the time after it.
 *
 * Invariants: time counts only while the agent runs, so a wrong or jumping clock changes nothing; a
 * power cut loses the open span and no other; a span never holds two bundles, so what a release did that
 * was taken back is not held in favour of the next one.
 */
import { z } from "zod";
import { histogramSchema } from "../../shared/protocol/messages/telemetry-window.ts";
import { emptyHistogram, mergeHistograms, withValue } from "../../shared/telemetry/histogram.ts";
import type { AgentContext } from "../context.ts";

const spanSchema = z.object({
  ok: z.int().min(0),
  errors: z.int().min(0),
  crashes: z.int().min(0),
  latency: histogramSchema,
});
export type ServingSpan = z.infer<typeof spanSchema>;

const operatingKey = "operatingMs";
/** Spans older than this are forgotten. */
const keepMs = 30 * 86_400_000;

const emptySpan = (): ServingSpan => ({
  ok: 0,
  errors: 0,
  crashes: 0,
  latency: emptyHistogram(),
});

export type ServingCounters = ReturnType<typeof createServingCounters>;

/** A bundle in service. */
export interface ServedBundle {
  readonly model: string;
  readonly bundleSha256: string;
}

export function createServingCounters({ store, clock }: AgentContext) {
  const base = Number(store.setting(operatingKey) ?? "0") - clock.monotonicMs();
  const open = new Map<string, ServedBundle & { span: ServingSpan; startedMs: number }>();
  const nowMs = () => base + clock.monotonicMs();
  const keyOf = ({ model, bundleSha256 }: ServedBundle) => `${model} ${bundleSha256}`;
  const change = (served: ServedBundle, next: (span: ServingSpan) => ServingSpan): void => {
    const { model, bundleSha256 } = served;
    const fresh = { model, bundleSha256, span: emptySpan(), startedMs: nowMs() };
    const entry = open.get(keyOf(served)) ?? fresh;
    open.set(keyOf(served), { ...entry, span: next(entry.span) });
  };
  const stored = ({ model, bundleSha256 }: ServedBundle, fromMs: number, toMs: number) =>
    store
      .servingSpans(model, bundleSha256, [fromMs, toMs])
      .map((json) => spanSchema.parse(JSON.parse(json)));
  return {
    /** Operating time of this device over all runs of the agent, in ms. */
    nowMs,
    answered: (served: ServedBundle, latencyMs: number) =>
      change(served, (span) => ({
        ...span,
        ok: span.ok + 1,
        latency: withValue(span.latency, latencyMs),
      })),
    failed: (served: ServedBundle) =>
      change(served, (span) => ({ ...span, errors: span.errors + 1 })),
    crashed: (served: ServedBundle) =>
      change(served, (span) => ({ ...span, crashes: span.crashes + 1 })),
    /** Stores the open spans and the time, inside a transaction; an idle device writes nothing. */
    save(): void {
      if (open.size === 0 && store.soaks().length === 0) return;
      const endedMs = nowMs();
      for (const { model, bundleSha256, span, startedMs } of open.values()) {
        const spanJson = JSON.stringify(span);
        store.addServingSpan({ model, bundleSha256, startedMs, endedMs, spanJson });
      }
      open.clear();
      store.pruneServingSpans(endedMs - keepMs);
      store.setSetting(operatingKey, String(endedMs));
    },
    /** All spans of a bundle that touch [fromMs, toMs), the open one too, as one. */
    over(served: ServedBundle, fromMs: number, toMs: number): ServingSpan {
      const current = open.get(keyOf(served));
      const isIn = current && current.startedMs < toMs;
      const spans = [...stored(served, fromMs, toMs), ...(isIn ? [current.span] : [])];
      return spans.reduce(
        (all, span) => ({
          ok: all.ok + span.ok,
          errors: all.errors + span.errors,
          crashes: all.crashes + span.crashes,
          latency: mergeHistograms(all.latency, span.latency),
        }),
        emptySpan(),
      );
    },
  };
}
