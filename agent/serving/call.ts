/** One inference for the device's own software, and what is recorded of it. */
import { isFleetError } from "../../shared/errors.ts";
import type { Answer } from "../../shared/inference/processing/answer.ts";
import type { AgentContext } from "../context.ts";
import type { Serving } from "./serving.ts";
import type { CallResult } from "./telemetry.ts";

export interface InferenceCall {
  readonly model: string;
  readonly bundleSha256: string;
  readonly result: CallResult;
  readonly latencyMs: number;
  /** Raw bytes per input. */
  readonly sample: Readonly<Record<string, Uint8Array>>;
  /** Undefined when there was none. */
  readonly answer: Answer | undefined;
}

export interface ModelCaller {
  readonly context: Pick<AgentContext, "clock">;
  readonly serving: Pick<Serving, "infer" | "servedSha256">;
  /** Told of each inference; answers at once. */
  readonly record: (call: InferenceCall) => void;
}

/** Errors: those of `Serving.infer`. */
export async function callModel(
  { context, serving, record }: ModelCaller,
  model: string,
  sample: Readonly<Record<string, Uint8Array>>,
): Promise<{ readonly bundleSha256: string | null; readonly answer: Answer }> {
  const bundleSha256 = serving.servedSha256(model);
  const startedMs = context.clock.monotonicMs();
  const tell = (result: CallResult, answer?: Answer) => {
    if (bundleSha256 === null) return;
    const latencyMs = context.clock.monotonicMs() - startedMs;
    record({ model, bundleSha256, result, latencyMs, sample, answer });
  };
  try {
    const answer = await serving.infer(model, sample);
    tell("ok", answer);
    return { bundleSha256, answer };
  } catch (error) {
    if (!isCallersFault(error)) {
      tell(isFleetError(error, "runner-timeout") ? "timeouts" : "errors");
    }
    throw error;
  }
}

/** A bad sample or too many of them are no errors of the model. */
function isCallersFault(error: unknown): boolean {
  return isFleetError(error, "golden-mismatch") || isFleetError(error, "serving-busy");
}
