import { describe, expect, it } from "vitest";
import { decodeMessage, encodeMessage } from "../../../shared/protocol/message.ts";
import { birth } from "../../../shared/protocol/messages/presence.ts";
import { messageOfTopic } from "../../../shared/protocol/registry.ts";
import { topicOf } from "../../../shared/protocol/topics.ts";

const envelope = {
  tenant: "acme",
  device: "cam-1",
  boot: "0123456789abcdef",
  sequence: 7,
  monotonicMs: 12.5,
  wallMs: null,
  clockTrusted: false,
};
const payload = {
  session: 3,
  agentVersion: "0.1.0",
  profileFingerprint: "ab",
  emulated: false,
  outboxPending: 0,
};

describe("messages", () => {
  it("decodes what it encoded", () => {
    const decoded = decodeMessage(birth, encodeMessage(birth, envelope, payload));
    expect(decoded.payload).toEqual(payload);
    expect(decoded.envelope).toEqual({ v: 1, ...envelope });
  });
  it("finds the message of a topic", () => {
    const topic = topicOf(birth, "acme", "cam-1");
    expect(messageOfTopic(topic)).toMatchObject({ name: "birth", address: { device: "cam-1" } });
  });
});
