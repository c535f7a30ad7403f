/** Every message of the protocol. A new one is one file in `messages/` and one line here. */
import { FleetError } from "../errors.ts";
import type { MessageDefinition } from "./message.ts";
import { ack } from "./messages/ack.ts";
import { artifactBlock, artifactRefused, artifactRequest } from "./messages/artifact-transfer.ts";
import { attemptOutcome } from "./messages/attempt-outcome.ts";
import { costTable } from "./messages/cost-table.ts";
import { desired } from "./messages/desired.ts";
import { enrolRequest, enrolResponse } from "./messages/enrol.ts";
import { hold } from "./messages/hold.ts";
import { inventory } from "./messages/inventory.ts";
import { labelRequest, labels } from "./messages/labels.ts";
import { measurement } from "./messages/measurement.ts";
import { observation } from "./messages/observation.ts";
import { birth, death } from "./messages/presence.ts";
import { reported } from "./messages/reported.ts";
import { soakReport } from "./messages/soak-report.ts";
import { telemetryWindow } from "./messages/telemetry-window.ts";
import { parseTopic, type TopicAddress } from "./topics.ts";

export const messages = {
  "enrol-request": enrolRequest,
  "enrol-response": enrolResponse,
  birth,
  death,
  desired,
  hold,
  reported,
  "attempt-outcome": attemptOutcome,
  measurement,
  "cost-table": costTable,
  inventory,
  "telemetry-window": telemetryWindow,
  "soak-report": soakReport,
  observation,
  "label-request": labelRequest,
  labels,
  ack,
  "artifact-request": artifactRequest,
  "artifact-block": artifactBlock,
  "artifact-refused": artifactRefused,
} as const;

export type MessageName = keyof typeof messages;
export type PayloadOf<Name extends MessageName> =
  (typeof messages)[Name] extends MessageDefinition<string, infer Payload> ? Payload : never;

/**
 * Which message a topic carries, and whose it is.
 * Errors: `message-unknown` for a topic or message that is none of ours.
 */
export function messageOfTopic(topic: string): { name: MessageName; address: TopicAddress } {
  const address = parseTopic(topic);
  const name = address?.message;
  if (address === undefined || name === undefined || !Object.hasOwn(messages, name)) {
    throw new FleetError("message-unknown", `no message travels on ${topic.slice(0, 200)}`);
  }
  const known = name as MessageName;
  if (messages[known].direction !== address.direction) {
    throw new FleetError("message-unknown", `${known} does not travel in this direction`);
  }
  return { name: known, address };
}
