/** The outbox on a real database: nothing leaves before the controller acks it, and not too much at once. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentContext } from "../../../agent/context.ts";
import { createOutbox } from "../../../agent/outbox.ts";
import { type AgentFolder, agentFolder } from "../../helpers/agent-context.ts";

let home: AgentFolder;
beforeEach(() => {
  home = agentFolder();
});
afterEach(() => home.remove());

function outboxOn(context: AgentContext) {
  const sent: string[] = [];
  let connected = true;
  const outbox = createOutbox({
    context,
    publish: async (name, bytes) => {
      sent.push(`${name} ${bytes[0]}`);
    },
    isConnected: () => connected,
  });
  const add = (name: "telemetry-window" | "attempt-outcome", sequence: number) =>
    outbox.add(name, { bytes: Uint8Array.of(sequence), sequence });
  const ack = (sequence: number, boot = context.boot) =>
    outbox.acked({ messages: [{ boot, sequence }] });
  return {
    outbox,
    sent,
    add,
    ack,
    setConnected(next: boolean) {
      connected = next;
    },
  };
}

describe("the outbox", () => {
  it("keeps a report until it is acked by boot and sequence", () => {
    const context = home.open();
    const { outbox, sent, add, ack } = outboxOn(context);
    add("telemetry-window", 1);
    outbox.flush();
    expect(sent).toEqual(["telemetry-window 1"]);
    ack(1, "f".repeat(16));
    expect(context.store.outboxCount()).toBe(1);
    ack(1);
    expect(context.store.outboxCount()).toBe(0);
  });

  it("sends decisions before telemetry", () => {
    const { outbox, sent, add } = outboxOn(home.open());
    add("telemetry-window", 1);
    add("attempt-outcome", 2);
    outbox.flush();
    expect(sent).toEqual(["attempt-outcome 2", "telemetry-window 1"]);
  });

  it("has at most sixteen on their way, also when more urgent ones come", () => {
    const { outbox, sent, add, ack } = outboxOn(home.open());
    for (let sequence = 0; sequence < 20; sequence++) add("telemetry-window", sequence);
    outbox.flush();
    expect(sent.length).toBe(16);
    add("attempt-outcome", 20);
    outbox.flush();
    expect(sent.length).toBe(16);
    ack(0);
    expect(sent.at(-1)).toBe("attempt-outcome 20");
  });

  it("finds what was left back when there is room again, however many acks that takes", () => {
    const { outbox, sent, add, ack } = outboxOn(home.open());
    for (let sequence = 0; sequence < 40; sequence++) add("telemetry-window", sequence);
    outbox.flush();
    for (let sequence = 0; sequence < 40; sequence++) ack(sequence);
    expect(sent.length).toBe(40);
    add("telemetry-window", 40);
    outbox.flush();
    expect(sent.at(-1)).toBe("telemetry-window 40");
  });

  it("sends everything again after a lost connection and after a restart", () => {
    const first = outboxOn(home.open());
    first.add("attempt-outcome", 3);
    first.outbox.flush();
    first.outbox.flush();
    expect(first.sent.length).toBe(1);
    first.setConnected(false);
    first.outbox.forgetInFlight();
    first.outbox.flush();
    expect(first.sent.length).toBe(1);
    first.setConnected(true);
    first.outbox.flush();
    expect(first.sent.length).toBe(2);
    const second = outboxOn(home.open());
    second.outbox.flush();
    expect(second.sent).toEqual(["attempt-outcome 3"]);
  });
});
