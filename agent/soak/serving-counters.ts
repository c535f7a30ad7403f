/**
 * How each model did in service lately, in short spans of operating time, so that the time before an
 * update can be held against the time after it.
 *
 * Invariants: time counts only while the agent runs, so a wrong or jumping clock changes nothing; a
 * power cut loses the open span and no other; a span never holds two models.
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

export function createServingCounters({ store, clock }: AgentContext) {
  const base = Number(store.setting(operatingKey) ?? "0") - clock.monotonicMs();
  const open = new Map<string, { span: ServingSpan; startedMs: number }>();
  const nowMs = () => base + clock.monotonicMs();
  const change = (model: string, next: (span: ServingSpan) => ServingSpan): void => {
    const entry = open.get(model) ?? { span: emptySpan(), startedMs: nowMs() };
    open.set(model, { ...entry, span: next(entry.span) });
  };
  const stored = (model: string, fromMs: number, toMs: number) =>
    store.servingSpans(model, fromMs, toMs).map((json) => spanSchema.parse(JSON.parse(json)));
  return {
    /** Operating time of this device over all runs of the agent, in ms. */
    nowMs,
    answered: (model: string, latencyMs: number) =>
      change(model, (span) => ({
        ...span,
        ok: span.ok + 1,
        latency: withValue(span.latency, latencyMs),
      })),
    failed: (model: string) => change(model, (span) => ({ ...span, errors: span.errors + 1 })),
    crashed: (model: string) => change(model, (span) => ({ ...span, crashes: span.crashes + 1 })),
    /** Stores the open spans and the time, inside a transaction; an idle device writes nothing. */
    save(): void {
      if (open.size === 0 && store.soaks().length === 0) return;
      const endedMs = nowMs();
      for (const [model, { span, startedMs }] of open) {
        store.addServingSpan({ model, startedMs, endedMs, spanJson: JSON.stringify(span) });
      }
      open.clear();
      store.pruneServingSpans(endedMs - keepMs);
      store.setSetting(operatingKey, String(endedMs));
    },
    /** All spans that touch [fromMs, toMs), the open one too, as one. */
    over(model: string, fromMs: number, toMs: number): ServingSpan {
      const current = open.get(model);
      const isIn = current && current.startedMs < toMs;
      const spans = [...stored(model, fromMs, toMs), ...(isIn ? [current.span] : [])];
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
