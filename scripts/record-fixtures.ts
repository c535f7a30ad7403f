/**
 * Records one fixture per message and version into test/fixtures/protocol. A fixture that exists is
 * never written again: later programs must still decode what an earlier one sent.
 */
import { existsSync, writeFileSync } from "node:fs";
import { encodeMessage, type MessageDefinition } from "../shared/protocol/message.ts";
import { type MessageName, messages } from "../shared/protocol/registry.ts";
import { sampleEnvelope, samplePayloads } from "../test/helpers/sample-payloads.ts";

const folder = new URL("../test/fixtures/protocol/", import.meta.url);
for (const name of Object.keys(messages) as MessageName[]) {
  const message = messages[name] as MessageDefinition;
  const file = new URL(`${name}-v${message.version}.cbor`, folder);
  if (existsSync(file)) continue;
  writeFileSync(file, encodeMessage(message, sampleEnvelope, samplePayloads[name]));
  console.log(`recorded ${name} version ${message.version}`);
}
