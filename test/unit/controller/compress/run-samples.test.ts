/** Samples that are spread over processes: what comes of them, and in which order. */
import { describe, expect, it } from "vitest";
import {
  type RunsSamples,
  runSamples,
} from "../../../../controller/compress/calibration/run-samples.ts";
import type { Feeds, Outputs } from "../../../../controller/compress/execute.ts";
import { floats } from "./run-model.ts";

const count = 50;
const batchSamples = 4;

function* samples(): Generator<Feeds> {
  for (let at = 0; at < count; at++) yield new Map([["x", floats(Float32Array.of(at), [1])]]);
}
const numberOf = (feeds: Feeds): number => feeds.get("x")!.data[0] as number;
const twice = (feeds: Feeds): Outputs =>
  new Map([["y", floats(Float32Array.of(2 * numberOf(feeds)), [1])]]);
const doubled = Array.from({ length: count }, (_, at) => 2 * at);
const later = () => new Promise<void>((resolve) => setImmediate(resolve));

/** This process, which notes what it ran. */
function modelHere(): { here: RunsSamples; ran: number[] } {
  const ran: number[] = [];
  const here: RunsSamples = async (batch) => {
    await later();
    ran.push(...batch.map(numberOf));
    return batch.map(twice);
  };
  return { here, ran };
}

/** Another process: a batch takes it `turns` turns of the event loop. */
function modelBeside(turns: number) {
  const ran: number[] = [];
  const seen = { underWay: 0, underWayMax: 0 };
  const run: RunsSamples = async (batch) => {
    seen.underWay++;
    seen.underWayMax = Math.max(seen.underWayMax, seen.underWay);
    for (let turn = 0; turn < turns; turn++) await later();
    seen.underWay--;
    ran.push(...batch.map(numberOf));
    return batch.map(twice);
  };
  return { run, ran, seen };
}

async function collected(
  beside: readonly Promise<RunsSamples>[],
  here: RunsSamples,
  check: (feeds: Feeds, sample: number) => void = () => {},
): Promise<number[]> {
  const found: number[] = [];
  const options = { samples: samples(), batchSamples, check, here, beside };
  for await (const outputs of runSamples(options)) {
    found.push(outputs.get("y")!.data[0] as number);
  }
  return found;
}

describe("samples", () => {
  it.each([1, 7, 1000])("come in order from processes that take %i turns", async (turns) => {
    const { here, ran } = modelHere();
    const [one, other] = [modelBeside(turns), modelBeside(turns + 3)];
    const beside = [one, other].map(({ run }) => Promise.resolve(run));
    expect(await collected(beside, here)).toEqual(doubled);
    const all = [...ran, ...one.ran, ...other.ran];
    expect(all.toSorted((a, b) => a - b)).toEqual([...samples()].map(numberOf));
    for (const part of [ran, one.ran, other.ran]) expect(part.length).toBeGreaterThan(0);
    expect(one.seen.underWayMax).toBe(2);
    // Two batches of four, and more once those are done.
    if (turns < 1000) expect(one.ran.length).toBeGreaterThan(8);
  });

  it("run here while the model is loaded elsewhere, and when it cannot be", async () => {
    const { here, ran } = modelHere();
    const never = new Promise<RunsSamples>(() => {});
    const refused = Promise.reject<RunsSamples>(new Error("refused"));
    expect(await collected([never, refused], here)).toEqual(doubled);
    expect(ran).toHaveLength(count);
  });

  it("run here when another process fails at them, which then gets no more", async () => {
    const { here, ran } = modelHere();
    let asked = 0;
    const run = async () => {
      asked++;
      await later();
      throw new Error("gone");
    };
    expect(await collected([Promise.resolve(run)], here)).toEqual(doubled);
    expect(asked).toBe(2);
    expect(ran).toHaveLength(count);
  });

  it("that do not fit are told by their number, wherever they would have run", async () => {
    for (const bad of [1, 20, count - 1]) {
      const { run } = modelBeside(2);
      const check = (_: Feeds, sample: number) => {
        if (sample === bad) throw new Error(`sample ${sample}`);
      };
      const found = collected([Promise.resolve(run)], modelHere().here, check);
      await expect(found).rejects.toThrow(`sample ${bad}`);
    }
  });

  it("that the model does not run on are told by their number", async () => {
    const here: RunsSamples = async (batch) => {
      if (batch.some((feeds) => numberOf(feeds) === 3)) throw new Error("no");
      return batch.map(twice);
    };
    await expect(collected([], here)).rejects.toMatchObject({
      code: "calibration-failed",
      details: { sample: 3 },
    });
  });
});
