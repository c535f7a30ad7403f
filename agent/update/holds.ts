/**
 * The holds that this device obeys: verified, kept through restarts, the newest of each scope.
 *
 * Invariants: nothing that is not signed for this tenant or region counts; a scope's sequence never
 * falls, whatever an older controller sends; what the controller does not know is handed back to it.
 */
import { type Hold, scopeKey, verifyHold } from "../../shared/artifact/hold.ts";
import { signedSchema } from "../../shared/artifact/signature.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import type { HoldRow } from "../state/store.ts";

export interface Holds {
  /** Takes what the controller sent; what is refused is logged with its code. */
  receive(documents: PayloadOf<"hold">["holds"]): void;
  /** Why nothing may be installed now; undefined when no hold applies. */
  reason(): string | undefined;
  reported(): PayloadOf<"reported">["holds"];
  /** A new connection: what the controller knows is open again. */
  connected(): void;
  /** Called after what applies has changed. */
  onChange(handler: () => void): void;
}

export function createHolds(context: AgentContext): Holds {
  const { store, log } = context;
  const handlers: (() => void)[] = [];
  /** Sequence of each scope as this connection's controller sent it. */
  const told = new Map<string, number>();
  let stored: readonly HoldRow[] | undefined;
  const rows = () => (stored ??= store.holds());

  /** Answers whether it was news. Errors: those of `verifyHold`, `hold-foreign`, `hold-older`. */
  const accept = (document: PayloadOf<"hold">["holds"][number]): boolean => {
    const documentJson = JSON.stringify(document);
    // What is stored was verified before it was; each new connection brings it again.
    const same = rows().find((row) => row.documentJson === documentJson);
    if (same !== undefined) {
      told.set(same.scope, same.sequence);
      return false;
    }
    const hold = verifyHold(document, context.identity.signingKeys);
    requireAudience(context, hold);
    const { sequence, held, reason } = hold;
    const scope = scopeKey(hold.scope);
    told.set(scope, sequence);
    const known = rows().find((row) => row.scope === scope)?.sequence ?? 0;
    if (sequence < known) {
      throw new FleetError("hold-older", `hold ${sequence} of ${scope} came after ${known}`);
    }
    if (sequence === known) return false;
    store.saveHold({ scope, sequence, held, reason, documentJson });
    stored = undefined;
    return true;
  };

  return {
    receive(documents) {
      let changed = false;
      for (const document of documents) {
        try {
          changed = accept(document) || changed;
        } catch (error) {
          if (!isFleetError(error)) throw error;
          log.warn("a hold was refused", { code: error.code, error: error.message });
        }
      }
      if (changed) for (const handler of handlers) handler();
    },
    reason: () => rows().find(({ held }) => held)?.reason,
    reported: () =>
      rows().map(({ scope, sequence, documentJson }) => ({
        scope,
        sequence,
        document:
          told.get(scope) === sequence ? null : signedSchema.parse(JSON.parse(documentJson)),
      })),
    connected: () => told.clear(),
    onChange: (handler) => handlers.push(handler),
  };
}

function requireAudience({ identity }: AgentContext, { tenant, scope }: Hold): void {
  if (tenant !== identity.tenant) throw new FleetError("hold-foreign", `hold is for ${tenant}`);
  if (scope.kind === "region" && scope.region !== identity.region) {
    throw new FleetError("hold-foreign", `hold is for region ${scope.region}`);
  }
}
