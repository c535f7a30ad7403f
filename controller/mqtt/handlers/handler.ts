/** The shape of what happens to a message that a device or a claim sent. */
import type { Envelope } from "../../../shared/protocol/message.ts";
import type { PayloadOf } from "../../../shared/protocol/registry.ts";
import type { ControllerContext } from "../../context.ts";
import type { Database } from "../../storage/database.ts";

/** Messages from devices that are stored until we ack them. */
export type OutboxName =
  | "attempt-outcome"
  | "measurement"
  | "cost-table"
  | "inventory"
  | "telemetry-window"
  | "soak-report"
  | "observation"
  | "label-request";
/** Other messages that reach the controller. */
export type DirectName = "birth" | "death" | "reported" | "artifact-request" | "enrol-request";

export type DirectHandler<Name extends DirectName> = (
  ctx: ControllerContext,
  sender: Envelope,
  payload: PayloadOf<Name>,
) => Promise<void>;

/**
 * Runs inside the transaction that remembers the message; what it returns runs after the commit,
 * together with the ack.
 */
export type OutboxHandler<Name extends OutboxName> = (
  ctx: ControllerContext,
  trx: Database,
  sender: Envelope,
  payload: PayloadOf<Name>,
) => Promise<(() => Promise<void>) | undefined>;
