/**
 * Counts what the serving model does, in windows that go to the outbox. When the outbox grows long
 * the windows get longer instead: counts stay exact, only time resolution is lost.
 */
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import { emptyHistogram, withValue } from "../../shared/telemetry/histogram.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import { believedNow } from "../time.ts";
import { worldError } from "../world-error.ts";

type Window = PayloadOf<"telemetry-window">;
export type CallResult = "ok" | "errors" | "timeouts";

/** Stored reports above which open windows go on instead of being stored. */
const outboxRowsMax = 500;

export interface Telemetry {
  record(call: {
    model: string;
    bundleSha256: string;
    result: CallResult;
    latencyMs: number;
  }): void;
  setWindow(windowMs: number): void;
  /** Stores the open windows, whatever their age. */
  flush(): void;
  stop(): void;
}

export function createTelemetry(context: AgentContext, messenger: Messenger): Telemetry {
  const open = new Map<string, { window: Window; startedMonotonicMs: number }>();
  let windowMs = 30_000;
  let cancel = () => {};

  const store = (): void => {
    const nowMs = context.clock.monotonicMs();
    context.store.transaction(() => {
      for (const { window, startedMonotonicMs } of open.values()) {
        messenger.enqueue("telemetry-window", {
          ...window,
          durationMs: nowMs - startedMonotonicMs,
        });
      }
    });
    open.clear();
    messenger.flush();
  };
  /** What cannot be stored stays open and is stored with what comes next. */
  const flush = (): void => {
    try {
      store();
    } catch (error) {
      const known = worldError(error);
      if (known === undefined) throw error;
      context.log.warn("telemetry waits", { code: known.code, error: known.message });
    }
  };
  const schedule = (): void => {
    cancel();
    cancel = context.clock.after(windowMs, () => {
      if (context.store.outboxCount() < outboxRowsMax) flush();
      schedule();
    });
  };
  schedule();
  return {
    record({ model, bundleSha256, result, latencyMs }) {
      const key = `${model}/${bundleSha256}`;
      const entry = open.get(key) ?? {
        window: emptyWindow(context, model, bundleSha256),
        startedMonotonicMs: context.clock.monotonicMs(),
      };
      const { window } = entry;
      const next: Window = {
        ...window,
        [result]: window[result] + 1,
        latency: result === "ok" ? withValue(window.latency, latencyMs) : window.latency,
      };
      open.set(key, { ...entry, window: next });
    },
    setWindow(next) {
      if (next === windowMs) return;
      windowMs = next;
      schedule();
    },
    flush,
    stop() {
      cancel();
      flush();
    },
  };
}

function emptyWindow(context: AgentContext, model: string, bundleSha256: string): Window {
  return {
    model,
    bundleSha256,
    region: context.identity.region,
    startedAtMs: believedNow(context).ms,
    durationMs: 0,
    ok: 0,
    errors: 0,
    timeouts: 0,
    latency: emptyHistogram(),
    ramPeakBytes: null,
    emulated: context.emulated,
  };
}
