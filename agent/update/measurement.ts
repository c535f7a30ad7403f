/**
 * Fetches, verifies, benchmarks and forgets one bundle.
 *
 * Invariants: each measurement has one result, kept and sent again as long as it is asked for; what takes
 * the process with it is given up after a few tries.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { decodeMessage, type MessageDefinition } from "../../shared/protocol/message.ts";
import type { Failure } from "../../shared/protocol/messages/measurement.ts";
import { messages, type PayloadOf } from "../../shared/protocol/registry.ts";
import { measureBundle } from "../trial/measure.ts";
import { worldError } from "../world-error.ts";
import { admit } from "./admission.ts";
import { type UpdateParts, unlessStopped } from "./executor.ts";
import { fetchAll } from "./fetch.ts";
import { resumesMax } from "./machine.ts";

const whyCharsMax = 1_024;
const unknownSha256 = "0".repeat(64);

/** Rejects with the reason of `stopping`, and then nothing was stored. */
export async function measureOnce(
  parts: UpdateParts & { onnxruntime: string },
  measurement: string,
  document: Signed,
  stopping: AbortSignal,
): Promise<void> {
  const { context, source } = parts;
  const admitted: { manifest?: Manifest } = {};
  const { found, failure } = await tryMeasuring(parts, measurement, stopping, {
    async prepare() {
      const purposes = ["measure"] as const;
      const manifest = admit(context, document, { purposes, onnxruntime: parts.onnxruntime });
      admitted.manifest = manifest;
      await fetchAll(context, source, { manifest, signal: stopping, onProgress: () => {} });
      return manifest;
    },
    measure: (manifest) => measureBundle(context, manifest),
  });
  report(parts, "measurement", {
    measurement,
    model: admitted.manifest?.model ?? "unknown",
    bundleSha256: admitted.manifest?.bundle.sha256 ?? unknownSha256,
    fingerprint: context.fingerprint,
    emulated: context.emulated,
    ...(found ?? { facts: [], environmentDegraded: false }),
    failure,
  });
}

/** What came of it: `found`, or why nothing was. */
type Tried<Found> =
  | { readonly found: Found; readonly failure: null }
  | { readonly found: undefined; readonly failure: Failure };

/** Counts the try between the two steps. Rejects with the reason of `stopping`. */
export async function tryMeasuring<Prepared, Found>(
  { context }: UpdateParts,
  id: string,
  stopping: AbortSignal,
  steps: {
    readonly prepare: () => Promise<Prepared>;
    readonly measure: (prepared: Prepared) => Promise<Found>;
  },
): Promise<Tried<Found>> {
  try {
    const prepared = await steps.prepare();
    return context.store.beginMeasurement(id) > resumesMax
      ? failed("interrupted", "the device restarted during this measurement too often")
      : { found: await unlessStopped(stopping, steps.measure(prepared)), failure: null };
  } catch (error) {
    if (stopping.aborted) throw error;
    const known = worldError(error);
    if (known === undefined) throw error;
    return failed(known.code, known.message);
  }
}

function failed(code: string, why: string): Tried<never> {
  return { found: undefined, failure: { code, why: why.slice(0, whyCharsMax) } };
}

type ResultName = "measurement" | "cost-table";

/** Stores a result together with its report. */
export function report(
  { context: { store }, messenger }: UpdateParts,
  name: ResultName,
  result: PayloadOf<ResultName>,
): void {
  store.transaction(() => {
    store.finishMeasurement(result);
    messenger.enqueue(name, result);
  });
  messenger.flush();
}

/** Sends known results again when they are asked for though none is on its way. */
export function resendResults(
  { context: { store }, messenger }: UpdateParts,
  name: ResultName,
  wanted: readonly string[],
): void {
  if (wanted.length === 0) return;
  const message = messages[name] as MessageDefinition<string, PayloadOf<ResultName>>;
  const onTheirWay = new Set(
    store.outboxRowsOf(name).map(({ bytes }) => decodeMessage(message, bytes).payload.measurement),
  );
  for (const id of wanted) {
    const result = store.measurementResult(id);
    if (result !== undefined && !onTheirWay.has(id)) messenger.enqueue(name, result);
  }
}
