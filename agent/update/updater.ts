/**
 * Turns the wanted state into attempts and measurements, one at a time on this device: two trials at
 * once would judge each other's load.
 *
 * Invariants: a document with an older revision is ignored; an attempt that has an outcome is never
 * tried again, its outcome is sent again; what a document no longer names is withdrawn.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import { type Signed, signedSchema } from "../../shared/artifact/signature.ts";
import { type FleetError, isFleetError } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import { measureBundle } from "../trial/measure.ts";
import { admit } from "./admission.ts";
import { runAttempt, type UpdateParts } from "./executor.ts";
import { collectArtifacts, fetchAll, namedArtifacts } from "./fetch.ts";
import { outcomeOf } from "./outcome.ts";

type Desired = PayloadOf<"desired">;

export interface Updater {
  /** Resumes what a restart interrupted. */
  start(): void;
  setDesired(desired: Desired): void;
  desiredRevision(): number;
  /** Resolves when nothing is under way; no new work begins after it was called. */
  stop(): Promise<void>;
}

export function createUpdater(parts: UpdateParts & { onnxruntime: string }): Updater {
  const { context } = parts;
  const { store } = context;
  const stopping = new AbortController();
  let desired: Desired | undefined;
  let current: { id: string; abort: AbortController } | undefined;
  let working: Promise<void> | undefined;
  let woken = false;

  /** Work that arrives while the worker is on its way out must not wait for the next message. */
  const wake = (): void => {
    woken = true;
    if (working !== undefined) return;
    working = workWhileWoken().finally(() => {
      working = undefined;
    });
    working.catch((error: unknown) => {
      context.log.error("the updater failed", { error: String(error) });
      throw error;
    });
  };
  const workWhileWoken = async (): Promise<void> => {
    while (woken && !stopping.signal.aborted) {
      woken = false;
      await work();
    }
  };
  const work = async (): Promise<void> => {
    for (;;) {
      if (stopping.signal.aborted) return;
      const row = store.openAttempts()[0];
      if (row !== undefined) {
        const abort = new AbortController();
        current = { id: row.id, abort };
        if (isWithdrawn(row)) abort.abort();
        const document = signedSchema.parse(JSON.parse(row.manifestJson));
        await runAttempt(
          parts,
          row,
          verifyManifest(document, context.identity.signingKeys),
          abort.signal,
        );
        current = undefined;
        continue;
      }
      const next = nextMeasurement();
      if (next === undefined) break;
      await measureOnce(parts, next.measurement, next.manifest, stopping.signal);
    }
    await collect();
  };
  const isWithdrawn = (row: { id: string; model: string }): boolean =>
    desired !== undefined &&
    (desired.standing !== "active" || desired.models[row.model]?.attempt !== row.id);
  const nextMeasurement = () =>
    desired?.standing === "active"
      ? desired.measurements.find(({ measurement }) => !store.measurementDone(measurement))
      : undefined;
  const collect = async (): Promise<void> => {
    if (desired === undefined) return;
    const documents: unknown[] = [
      ...Object.values(desired.models).map(({ manifest }) => manifest),
      ...desired.measurements.map(({ manifest }) => manifest),
    ];
    await collectArtifacts(context, namedArtifacts(documents));
  };

  return {
    start: wake,
    desiredRevision: () => desired?.revision ?? -1,
    setDesired(next) {
      if (desired !== undefined && next.revision < desired.revision) return;
      desired = next;
      if (next.standing === "active") {
        for (const [model, wanted] of Object.entries(next.models)) {
          target(parts, model, wanted.attempt, wanted.manifest);
        }
      }
      const open = current && store.attempt(current.id);
      if (open !== undefined && isWithdrawn(open)) current?.abort.abort();
      wake();
    },
    async stop() {
      stopping.abort();
      // An update goes on after the next start; only its waiting is cut short here.
      await Promise.race([working?.catch(() => {}), context.clock.sleep(0)]);
    },
  };
}

/** Accepts a new attempt, refuses it, or sends the outcome of an old one again. */
function target(
  parts: UpdateParts & { onnxruntime: string },
  model: string,
  attempt: string,
  document: Signed,
): void {
  const { context, messenger } = parts;
  const { store } = context;
  const known = store.attempt(attempt);
  if (known !== undefined) {
    const { outcome } = known;
    const waiting = store.outboxRowsOf("attempt-outcome").length > 0;
    if (outcome !== null && !waiting) messenger.enqueue("attempt-outcome", outcome);
    return;
  }
  const add = () => {
    store.ensureModel(model);
    store.addAttempt({ id: attempt, model, manifestJson: JSON.stringify(document), state: "idle" });
  };
  try {
    const manifest = admit(context, document, {
      purpose: "release",
      model,
      onnxruntime: parts.onnxruntime,
    });
    store.transaction(() => {
      add();
      store.raiseReleaseCounter(model, manifest.releaseCounter);
    });
  } catch (error) {
    if (!isFleetError(error)) throw error;
    store.transaction(() => {
      add();
      refuse(parts, { model, attempt, document, error });
    });
  }
  messenger.flush();
}

function refuse(
  { context, messenger, serving }: UpdateParts,
  refused: { model: string; attempt: string; document: Signed; error: FleetError },
): void {
  const outcome = outcomeOf({
    ...refused,
    outcome: "refused",
    ending: { code: refused.error.code, why: refused.error.message },
    gates: [],
    servingSha256: serving.servedSha256(refused.model),
    emulated: context.emulated,
  });
  context.store.concludeAttempt(outcome);
  messenger.enqueue("attempt-outcome", outcome);
}

/** Fetches, verifies, benchmarks and forgets one bundle; each measurement is done once. */
async function measureOnce(
  parts: UpdateParts & { onnxruntime: string },
  measurement: string,
  document: Signed,
  signal: AbortSignal,
): Promise<void> {
  const { context, messenger, source } = parts;
  let manifest: Manifest | undefined;
  let result: Pick<PayloadOf<"measurement">, "facts" | "environmentDegraded" | "failure">;
  try {
    manifest = admit(context, document, { purpose: "measure", onnxruntime: parts.onnxruntime });
    await fetchAll(context, source, { manifest, signal, onProgress: () => {} });
    result = { ...(await measureBundle(context, manifest)), failure: null };
  } catch (error) {
    if (signal.aborted) return;
    if (!isFleetError(error)) throw error;
    const failure = { code: error.code, why: error.message.slice(0, 1_024) };
    result = { facts: [], environmentDegraded: false, failure };
  }
  context.store.transaction(() => {
    context.store.finishMeasurement(measurement);
    messenger.enqueue("measurement", {
      measurement,
      model: manifest?.model ?? "unknown",
      bundleSha256: manifest?.bundle.sha256 ?? "0".repeat(64),
      fingerprint: context.fingerprint,
      emulated: context.emulated,
      ...result,
    });
  });
  messenger.flush();
}
