/** Acks in batches, faults without flood, the gate. */
import { describe, expect, it } from "vitest";
import { createAcks } from "../../../../controller/mqtt/acks.ts";
import { createFaultLog } from "../../../../controller/mqtt/fault-log.ts";
import { createGate } from "../../../../controller/mqtt/gate.ts";
import type { NewEvent } from "../../../../controller/storage/events/repository.ts";
import { handClock } from "../../../helpers/hand-clock.ts";

describe("acks", () => {
  const boot = "a".repeat(16);
  const setUp = () => {
    const clock = handClock();
    const sent: { device: string; sequences: number[]; atMs: number }[] = [];
    const acks = createAcks(clock, async (device, messages) => {
      const sequences = messages.map(({ sequence }) => sequence);
      sent.push({ device, sequences, atMs: clock.monotonicMs() });
    });
    return { clock, sent, acks };
  };

  it("of one device wait a moment for each other, and never longer than 20 ms", async () => {
    const { clock, sent, acks } = setUp();
    acks.add("cam-1", { boot, sequence: 1 });
    await clock.pass(15);
    acks.add("cam-1", { boot, sequence: 2 });
    acks.add("cam-2", { boot, sequence: 7 });
    expect(sent).toEqual([]);
    await clock.pass(100);
    expect(sent).toEqual([
      { device: "cam-1", sequences: [1, 2], atMs: 20 },
      { device: "cam-2", sequences: [7], atMs: 35 },
    ]);
  });

  it("leave at once when an agent has nothing more in flight, and at the end", async () => {
    const { clock, sent, acks } = setUp();
    for (let sequence = 0; sequence < 16; sequence++) acks.add("cam-1", { boot, sequence });
    expect(sent).toHaveLength(1);
    acks.add("cam-1", { boot, sequence: 16 });
    await acks.flush();
    await clock.pass(100);
    expect(sent.map(({ sequences }) => sequences.length)).toEqual([16, 1]);
  });
});

describe("faults", () => {
  it("are recorded once a minute each, and what was left out is counted", async () => {
    const clock = handClock();
    const events: NewEvent[] = [];
    const note = createFaultLog({ clock, record: async (event) => void events.push(event) });
    const fault = (subject: string, code: string) =>
      note({ kind: "message-dropped", subject, code, message: "bad", topic: `up/${subject}` });
    for (let n = 0; n < 1_000; n++) await fault("cam-1", "message-malformed");
    await fault("cam-1", "message-too-large");
    await fault("cam-2", "message-malformed");
    expect(events.map(({ subject }) => subject)).toEqual(["cam-1", "cam-1", "cam-2"]);
    await clock.pass(60_000);
    await fault("cam-1", "message-malformed");
    expect(events.at(-1)).toMatchObject({
      subject: "cam-1",
      data: { code: "message-malformed", leftOutBefore: 999 },
    });
  });
});

describe("the gate", () => {
  it("holds back while it is closed, also a second time", async () => {
    const gate = createGate();
    const passed: string[] = [];
    const pass = (name: string) => gate.passage().then(() => passed.push(name));
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    void pass("early");
    await settle();
    expect(passed).toEqual([]);
    gate.open();
    await settle();
    void pass("open");
    await settle();
    expect(passed).toEqual(["early", "open"]);
    gate.close();
    gate.close();
    void pass("late");
    await settle();
    expect(passed).toHaveLength(2);
    gate.open();
    await settle();
    expect(passed).toEqual(["early", "open", "late"]);
  });
});
