/** What this device really runs, read from its disk state and the serving processes. */
import type { PayloadOf } from "../shared/protocol/registry.ts";
import type { AgentContext } from "./context.ts";
import type { Serving } from "./serving/serving.ts";
import type { Waiting } from "./update/permission.ts";
import { isOutcome, type UpdateState } from "./update/transitions.ts";

export interface UpdateProgressView {
  readonly state: string;
  readonly progressFraction: number;
  readonly waiting: Waiting | null;
}

export function reportedState(
  context: AgentContext,
  parts: {
    serving: Serving;
    holds: PayloadOf<"reported">["holds"];
    updates: ReadonlyMap<string, UpdateProgressView>;
    desiredRevision: number;
  },
): PayloadOf<"reported"> {
  const { store } = context;
  const { serving, holds, updates, desiredRevision } = parts;
  const open = store.openAttempts();
  const entries = store.models().map(({ name, releaseCounterHighest }) => {
    const slot = store.committedSlot(name);
    const attempt = open.find(({ model }) => model === name);
    const view = attempt && updates.get(attempt.id);
    const state = view?.state ?? attempt?.state ?? "idle";
    const committed =
      slot?.bundleSha256 == null
        ? null
        : {
            bundleSha256: slot.bundleSha256,
            version: slot.version ?? "unknown",
            recipe: slot.recipe ?? "unknown",
            releaseCounter: slot.releaseCounter ?? 0,
          };
    const update =
      attempt === undefined || isOutcome(state as UpdateState)
        ? null
        : {
            attempt: attempt.id,
            state,
            progressFraction: view?.progressFraction ?? 0,
            waiting: view?.waiting ?? null,
          };
    return [
      name,
      { committed, servingSha256: serving.servedSha256(name), releaseCounterHighest, update },
    ] as const;
  });
  return { desiredRevision, holds, models: Object.fromEntries(entries) };
}
