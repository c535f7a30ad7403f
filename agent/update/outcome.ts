/** The one outcome of an attempt, in words and numbers, from what the machine ended with. */
import { type Manifest, manifestSchema } from "../../shared/artifact/manifest.ts";
import { modelNameSchema } from "../../shared/artifact/names.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { AttemptOutcome } from "../state/store.ts";
import type { UpdateOutcome } from "./transitions.ts";

const unknownSha256 = "0".repeat(64);
const codeCharsMax = 64;
const whyCharsMax = 1_024;

export interface Ending {
  readonly code: string;
  readonly why: string;
}

/** `document` may be unverified: its fields only name what was refused. */
export function outcomeOf(options: {
  attempt: string;
  model: string;
  document: unknown;
  outcome: UpdateOutcome;
  ending: Ending;
  gates: readonly GateResult[];
  servingSha256: string | null;
  emulated: boolean;
}): AttemptOutcome {
  const parsed = manifestSchema.safeParse(
    (options.document as { signed?: unknown } | null)?.signed,
  );
  const manifest: Manifest | undefined = parsed.success ? parsed.data : undefined;
  return {
    attempt: options.attempt,
    model: modelNameSchema.parse(options.model),
    version: manifest?.version ?? "unknown",
    bundleSha256: manifest?.bundle.sha256 ?? unknownSha256,
    releaseCounter: manifest?.releaseCounter ?? 0,
    outcome: options.outcome,
    code: options.ending.code.slice(0, codeCharsMax),
    why: options.ending.why.slice(0, whyCharsMax),
    gates: [...options.gates],
    servingSha256: options.servingSha256,
    emulated: options.emulated,
  };
}

/** Why a trial was passed: the sentences of the gates that say most, worst class and slice included. */
export function passedEnding(gates: readonly GateResult[]): Ending {
  const told = gates.filter(({ gate }) => gate === "metric-floor" || gate === "paired-metric");
  const why = told.map((gate) => gate.why).join("; ");
  return { code: "ok", why: why === "" ? "it loads and answers" : why };
}
