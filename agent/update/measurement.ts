/**
 * Fetches, verifies, benchmarks and forgets one bundle.
 *
 * Invariants: each measurement has one result, kept and sent again as long as it is asked for; a bundle
 * that takes the process with it is given up after a few tries.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { decodeMessage } from "../../shared/protocol/message.ts";
import { messages, type PayloadOf } from "../../shared/protocol/registry.ts";
import { measureBundle } from "../trial/measure.ts";
import { worldError } from "../world-error.ts";
import { admit } from "./admission.ts";
import { type UpdateParts, unlessStopped } from "./executor.ts";
import { fetchAll } from "./fetch.ts";
import { resumesMax } from "./machine.ts";

type Result = PayloadOf<"measurement">;
const whyCharsMax = 1_024;
const unknownSha256 = "0".repeat(64);

/** Rejects with the reason of `stopping`, and then nothing was stored. */
export async function measureOnce(
  parts: UpdateParts & { onnxruntime: string },
  measurement: string,
  document: Signed,
  stopping: AbortSignal,
): Promise<void> {
  const { context, messenger, source } = parts;
  let manifest: Manifest | undefined;
  let found: Pick<Result, "facts" | "environmentDegraded" | "failure">;
  try {
    manifest = admit(context, document, { purposes: ["measure"], onnxruntime: parts.onnxruntime });
    await fetchAll(context, source, { manifest, signal: stopping, onProgress: () => {} });
    found =
      context.store.beginMeasurement(measurement) > resumesMax
        ? failed("interrupted", "the device restarted during this measurement too often")
        : {
            ...(await unlessStopped(stopping, measureBundle(context, manifest))),
            failure: null,
          };
  } catch (error) {
    if (stopping.aborted) throw error;
    const known = worldError(error);
    if (known === undefined) throw error;
    found = failed(known.code, known.message);
  }
  const result: Result = {
    measurement,
    model: manifest?.model ?? "unknown",
    bundleSha256: manifest?.bundle.sha256 ?? unknownSha256,
    fingerprint: context.fingerprint,
    emulated: context.emulated,
    ...found,
  };
  context.store.transaction(() => {
    context.store.finishMeasurement(result);
    messenger.enqueue("measurement", result);
  });
  messenger.flush();
}

function failed(code: string, why: string) {
  const failure = { code, why: why.slice(0, whyCharsMax) };
  return { facts: [], environmentDegraded: false, failure };
}

/** Sends known results again when they are asked for though none is on its way. */
export function resendMeasurements(
  { context: { store }, messenger }: UpdateParts,
  wanted: readonly string[],
): void {
  if (wanted.length === 0) return;
  const onTheirWay = new Set(
    store
      .outboxRowsOf("measurement")
      .map(({ bytes }) => decodeMessage(messages.measurement, bytes).payload.measurement),
  );
  for (const id of wanted) {
    const result = store.measurementResult(id);
    if (result !== undefined && !onTheirWay.has(id)) messenger.enqueue("measurement", result);
  }
}
