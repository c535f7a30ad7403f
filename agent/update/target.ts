/**
 * Turns one entry of the wanted state into an attempt: accepts it, refuses it with its code, or sends
 * the outcome that it had already.
 */
import { canonicalJson } from "../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { type FleetError, isFleetError } from "../../shared/errors.ts";
import { decodeMessage } from "../../shared/protocol/message.ts";
import { messages } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import type { AttemptRow } from "../state/store.ts";
import { admit } from "./admission.ts";
import type { UpdateParts } from "./executor.ts";
import { step } from "./machine.ts";
import { outcomeOf } from "./outcome.ts";
import { isOutcome } from "./transitions.ts";

export interface Target {
  readonly model: string;
  readonly attempt: string;
  /** The controller has the outcome of the attempt. */
  readonly outcomeKnown: boolean;
  /** The signed manifest as it came, unverified. */
  readonly document: Signed;
}

export function target(parts: UpdateParts & { onnxruntime: string }, wanted: Target): void {
  const { context, messenger } = parts;
  const { store } = context;
  const { model, attempt, outcomeKnown, document } = wanted;
  const known = store.attempt(attempt);
  if (known !== undefined) {
    if (known.outcome === null) renew(parts, known, document);
    else if (!outcomeKnown && !isOnItsWay(store, attempt))
      messenger.enqueue("attempt-outcome", known.outcome);
    return;
  }
  const add = () => {
    store.ensureModel(model);
    store.addAttempt({ id: attempt, model, manifestJson: JSON.stringify(document), state: "idle" });
  };
  try {
    const manifest = admit(context, document, {
      purposes: ["release", "control"],
      model,
      onnxruntime: parts.onnxruntime,
    });
    store.transaction(() => {
      add();
      // A control installs nothing, so it uses up no counter.
      if (manifest.purpose === "release") {
        store.raiseReleaseCounter(model, manifest.releaseCounter);
      }
    });
  } catch (error) {
    if (!isFleetError(error)) throw error;
    store.transaction(() => {
      add();
      refuse(parts, wanted, error);
    });
  }
}

/**
 * An open attempt that waits takes a manifest that is the same but for its dates: the controller signs
 * it again before the first one expires.
 */
function renew(
  { context: { store, identity } }: UpdateParts,
  known: AttemptRow,
  document: Signed,
): void {
  const manifestJson = JSON.stringify(document);
  if (manifestJson === known.manifestJson) return;
  try {
    const [before, after] = [JSON.parse(known.manifestJson), document].map((each) =>
      verifyManifest(each, identity.signingKeys),
    );
    if (before === undefined || after === undefined) return;
    if (after.expiresAtMs <= before.expiresAtMs) return;
    const { issuedAtMs, expiresAtMs } = before;
    const hashes = [before, { ...after, issuedAtMs, expiresAtMs }].map((each) =>
      sha256Hex(canonicalJson(each)),
    );
    if (hashes[0] === hashes[1]) store.renewAttempt(known.id, manifestJson);
  } catch (error) {
    // What was accepted stands.
    if (!isFleetError(error)) throw error;
  }
}

/** Another attempt's outcome in the outbox is no reason to keep this one back. */
function isOnItsWay(store: AgentContext["store"], attempt: string): boolean {
  const outcome = messages["attempt-outcome"];
  return store
    .outboxRowsOf(outcome.name)
    .some(({ bytes }) => decodeMessage(outcome, bytes).payload.attempt === attempt);
}

/** Concludes an attempt that was added but may not be tried; called in a transaction. */
export function refuse(
  { context, messenger, serving }: UpdateParts,
  { model, attempt, document }: Omit<Target, "outcomeKnown">,
  error: FleetError,
): void {
  const { state } = step({ state: "idle", resumes: 0, steps: 0 }, "refused").progress;
  if (!isOutcome(state)) throw new Error("the table must end a refused attempt");
  const outcome = outcomeOf({
    attempt,
    model,
    document,
    outcome: state,
    ending: { code: error.code, why: error.message },
    gates: [],
    servingSha256: serving.servedSha256(model),
    emulated: context.emulated,
  });
  context.store.concludeAttempt(outcome);
  messenger.enqueue("attempt-outcome", outcome);
}
