/**
 * Watches each model after its commit, and takes it back when it crashes or labels say that it is
 * worse. All of it is decided here, with or without a connection.
 *
 * Invariants: the model before stays in its slot while a soak is open, and the first write of another
 * update ends the soak before; counts are stored with every finding and every few minutes, so a power
 * cut loses minutes and no verdict; without an order in the manifest nothing is watched or sent.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import type { InferenceCall } from "../serving/call.ts";
import type { Serving } from "../serving/serving.ts";
import { keepTime, nextDueMs } from "./horizons.ts";
import { allowedDisagreement, goldenOf } from "./judge.ts";
import { withLabels } from "./label-desk.ts";
import { change, endLive, type Live, openLive, type SoakRoom, safely } from "./live.ts";
import { createServingCounters, type ServingCounters } from "./serving-counters.ts";
import { noCounts, type SoakFacts } from "./soak-state.ts";

export interface Soaks {
  start(): void;
  /** One inference in service. Returns at once. */
  record(call: InferenceCall): void;
  /** The serving process of a model ended by itself, or did not start. */
  crashed(model: string, bundleSha256: string): void;
  /** Opens the soak that the manifest orders; in the transaction that commits, before it does. */
  open(attempt: string, manifest: Manifest, gates: readonly GateResult[]): void;
  /** Takes up what `open` stored, after its transaction. */
  opened(model: string): void;
  /** Ends the soak of a model, if there is one, before its spare slot is written to. */
  end(model: string, why: string): void;
  receiveLabels(payload: PayloadOf<"labels">): void;
  stop(): Promise<void>;
}

/** Counts are stored this often: a write to flash each time. */
const saveEveryMs = 300_000;
/** Shortest time between two looks at the clock. */
const lookEveryMs = 250;

export function createSoaks(parts: {
  context: AgentContext;
  messenger: Messenger;
  serving: Serving;
}): Soaks {
  const { store } = parts.context;
  const stopping = new AbortController();
  const lives = new Map<string, Live>();
  const counters = createServingCounters(parts.context);
  const room: SoakRoom = { ...parts, counters, lives, stopping: stopping.signal };
  const rhythm = createRhythm(room);
  const opened = (model: string): void => {
    const row = store.soak(model);
    if (row === undefined) return;
    openLive(room, row);
    rhythm.look();
  };
  return {
    start() {
      for (const { model } of store.soaks()) opened(model);
      rhythm.look();
    },
    record: (call) => recordCall(room, call),
    crashed(model, bundleSha256) {
      counters.crashed({ model, bundleSha256 });
      const live = lives.get(model);
      if (live?.facts.bundleSha256 !== bundleSha256) return;
      const counts = { ...live.counts, crashes: live.counts.crashes + 1 };
      // It must outlive the device's own end, which may be close.
      safely(room, () => store.saveSoak(live.facts.attempt, JSON.stringify(counts)));
      change(room, live, counts);
    },
    open(attempt, manifest, gates) {
      const facts = factsOf(room, { attempt, manifest, gates });
      if (facts === undefined) return;
      counters.save();
      const [factsJson, countsJson] = [JSON.stringify(facts), JSON.stringify(noCounts())];
      store.addSoak({ model: facts.model, attempt, factsJson, countsJson });
    },
    opened,
    end(model, why) {
      const live = lives.get(model);
      if (live) endLive(room, live, { verdict: "ended", code: "soak-superseded", why });
    },
    receiveLabels(payload) {
      const live = lives.get(payload.model);
      if (live?.facts.attempt !== payload.attempt) return;
      const counts = store.transaction(() => {
        const next = withLabels(parts.context, live.counts, payload);
        store.saveSoak(payload.attempt, JSON.stringify(next));
        return next;
      });
      change(room, live, counts);
    },
    async stop() {
      rhythm.stop();
      stopping.abort();
      await Promise.all([...lives.values()].map(({ shadow }) => shadow.stop()));
    },
  };
}

function recordCall({ counters, lives }: SoakRoom, call: InferenceCall): void {
  const { model, bundleSha256, result, latencyMs, sample, answer } = call;
  if (result === "ok") counters.answered(call, latencyMs);
  else counters.failed(call);
  const live = lives.get(model);
  if (answer === undefined || live?.facts.bundleSha256 !== bundleSha256) return;
  live.counts = { ...live.counts, calls: live.counts.calls + 1 };
  live.shadow.offer(sample, answer);
}

/** Looks when something is due, and stores the counts now and then. */
function createRhythm(room: SoakRoom) {
  const { context, counters, lives, stopping } = room;
  const { store, clock } = context;
  let cancel = () => {};
  let savedAtMs = counters.nowMs();
  const save = (): void => {
    savedAtMs = counters.nowMs();
    store.transaction(() => {
      counters.save();
      for (const { facts, counts } of lives.values()) {
        store.saveSoak(facts.attempt, JSON.stringify(counts));
      }
    });
  };
  const look = (): void => {
    cancel();
    if (stopping.aborted) return;
    for (const live of lives.values()) safely(room, () => keepTime(room, live));
    const nowMs = counters.nowMs();
    if (nowMs - savedAtMs >= saveEveryMs) safely(room, save);
    const nextMs = Math.min(savedAtMs + saveEveryMs, ...[...lives.values()].map(nextDueMs));
    cancel = clock.after(Math.max(lookEveryMs, nextMs - nowMs), look);
  };
  return {
    look,
    stop(): void {
      cancel();
      safely(room, save);
    },
  };
}

/**
 * Undefined when the manifest orders no soak, or when there is no model before to compare with. A
 * control is watched for its signals alone.
 */
function factsOf(
  { context: { store }, counters }: { context: AgentContext; counters: ServingCounters },
  order: { attempt: string; manifest: Manifest; gates: readonly GateResult[] },
): SoakFacts | undefined {
  const { attempt, manifest, gates } = order;
  const { soak, model } = manifest;
  const committed = store.committedSlot(model);
  if (soak === null || committed?.bundleSha256 == null) return undefined;
  const startedMs = counters.nowMs();
  const isControl = manifest.purpose === "control";
  const { ok, errors, crashes } = counters.over(
    { model, bundleSha256: committed.bundleSha256 },
    startedMs - soak.durationMs,
    startedMs,
  );
  return {
    attempt,
    model,
    version: manifest.version,
    arm: isControl ? "control" : "canary",
    bundleSha256: manifest.bundle.sha256,
    slot: isControl ? committed.slot : store.spareSlot(model),
    previous: isControl ? null : { slot: committed.slot, bundleSha256: committed.bundleSha256 },
    spec: soak,
    alphaDevice: manifest.gates.alphaDevice,
    golden: goldenOf(gates),
    disagreementMax: allowedDisagreement(soak.disagreementMax, gates),
    before: { calls: ok + errors + crashes, crashes },
    startedMs,
  };
}
