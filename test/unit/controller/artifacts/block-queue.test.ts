/** Turns and budget of artifact blocks. */
import { describe, expect, it } from "vitest";
import { createBlockQueue } from "../../../../controller/artifacts/block-queue.ts";
import { createPacer } from "../../../../controller/artifacts/pacer.ts";
import { handClock } from "../../../helpers/hand-clock.ts";

const blockBytes = 1_000;

function queueAt(bytesPerSecond: number) {
  const clock = handClock();
  const sent: { device: string; block: number; atMs: number }[] = [];
  const errors: string[] = [];
  const queue = createBlockQueue({
    pace: createPacer(clock, bytesPerSecond),
    onError: (device) => errors.push(device),
  });
  const order = (device: string, blocks: number[], fails = false) =>
    queue.order(device, {
      sha256: "f".repeat(64),
      blocks,
      bytesOf: () => blockBytes,
      async send(block) {
        if (fails) throw new Error("no such file");
        sent.push({ device, block, atMs: clock.monotonicMs() });
      },
    });
  return { clock, sent, errors, queue, order };
}
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe("blocks", () => {
  it("leave in turns, so that one device that wants much does not hold up another", async () => {
    const { clock, sent, order } = queueAt(10_000);
    order("greedy", upTo(100));
    order("modest", upTo(3));
    await clock.pass(3_000);
    const modest = sent
      .map(({ device }, index) => ({ device, index }))
      .filter(({ device }) => device === "modest");
    expect(modest).toHaveLength(3);
    expect(modest.at(-1)?.index).toBeLessThan(20);
  });

  it("keep to one budget of bytes, however many devices ask", async () => {
    const { clock, sent, order } = queueAt(10_000);
    for (let device = 0; device < 50; device++) order(`d-${device}`, upTo(64));
    await clock.pass(10_000);
    // Ten blocks a second, and one second's worth at once.
    expect(sent.length).toBeGreaterThanOrEqual(100);
    expect(sent.length).toBeLessThanOrEqual(111);
    expect(new Set(sent.map(({ device }) => device)).size).toBe(50);
  });

  it("of a newer order replace those of an older one", async () => {
    const { clock, sent, order } = queueAt(10_000);
    order("one", upTo(64));
    await clock.pass(1_000);
    const before = sent.length;
    order("one", [63]);
    await clock.pass(20_000);
    const after = sent.slice(before).map(({ block }) => block);
    // Those on their way already still arrive.
    expect(after.length).toBeLessThanOrEqual(9);
    expect(after).toContain(63);
  });

  it("that cannot be read end their order and no other", async () => {
    const { clock, sent, errors, order } = queueAt(1_000_000);
    order("broken", upTo(64), true);
    order("fine", upTo(64));
    await clock.pass(2_000);
    expect(sent.map(({ device }) => device)).toEqual(Array(64).fill("fine"));
    expect(errors).toContain("broken");
    expect(errors.length).toBeLessThan(10);
  });

  it("are not sent after the end", async () => {
    const { clock, sent, queue, order } = queueAt(10_000);
    order("one", upTo(64));
    const stopped = queue.stop();
    await clock.pass(5_000);
    await stopped;
    const before = sent.length;
    expect(before).toBeLessThanOrEqual(8);
    order("one", upTo(64));
    await clock.pass(5_000);
    expect(sent).toHaveLength(before);
  });
});
