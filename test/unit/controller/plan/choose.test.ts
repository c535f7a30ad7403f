/** The choice of a variant for a class: every way to lose, every objective, and what emulation says. */
import { describe, expect, it } from "vitest";
import type { DeviceClass } from "../../../../controller/fleet/classes.ts";
import {
  choose,
  type MeasuredFacts,
  type MeasuredVariant,
} from "../../../../controller/plan/choose.ts";

function deviceClass(change: Partial<DeviceClass> = {}): DeviceClass {
  return {
    name: "gateway",
    summary: "",
    match: {},
    budget: { metricFloor: 0 },
    recipes: ["fp32", "fp16", "int8"],
    objective: "size",
    ...change,
  };
}

function variant(recipe: string, change: Partial<MeasuredVariant> = {}): MeasuredVariant {
  return {
    recipe,
    bundleSha256: recipe,
    status: "ready",
    reason: null,
    modelBytes: 1000,
    metric: { value: 0.95, high: 0.96 },
    worse: 0,
    better: 0,
    foretold: [],
    ...measured({}),
    measurementFailure: null,
    ...change,
  };
}

const measured = ({
  latencyP50Ms = 1,
  ...change
}: Partial<MeasuredFacts>): { measured: MeasuredFacts } => ({
  measured: {
    device: "gateway-1",
    latencyP50Ms,
    latencyIntervalMs: [latencyP50Ms, latencyP50Ms],
    ramPeakBytes: 1000,
    metric: { value: 0.95, high: 0.97, n: 500 },
    parity: { flips: 0, n: 500 },
    degraded: false,
    emulated: false,
    ...change,
  },
});

const rule = { parity: { flipFractionMax: 0.005, alpha: 0.001 / 3 } };

const winnerOf = (of: DeviceClass, ...variants: MeasuredVariant[]) =>
  choose(of, variants, rule).winner?.recipe;

describe("a variant that cannot be chosen", () => {
  const cases: readonly [string, DeviceClass, Partial<MeasuredVariant>, RegExp][] = [
    ["an unlisted recipe", deviceClass({ recipes: ["fp32"] }), {}, /does not list/],
    [
      "one without a file",
      deviceClass(),
      { status: "not-applicable", reason: "no Conv" },
      /no Conv/,
    ],
    ["a failed one", deviceClass(), { status: "failed", reason: "pass x" }, /failed: pass x/],
    [
      "too long a file",
      deviceClass({ budget: { metricFloor: 0, modelBytesMax: 999 } }),
      {},
      /1000 bytes is over the class's 999/,
    ],
    [
      "too low a metric",
      deviceClass({ budget: { metricFloor: 0.97 } }),
      {},
      /95\.00 % is below the class's floor of 97\.00 %/,
    ],
    ["one that lost accuracy", deviceClass(), { worse: 40, better: 2 }, /40 samples got worse/],
    [
      "one that was foretold to lose accuracy on the class's processor",
      deviceClass(),
      {
        foretold: [
          { processor: "avx2", n: 200, metric: { value: 0.7, high: 0.76 }, worse: 40, better: 2 },
        ],
      },
      /^on x86 without VNNI it is worse than its source: 40 samples .* on 200 samples/,
    ],
    ["an unmeasured one", deviceClass(), { measured: null }, /no device of the class measured it/],
    [
      "one that no device could run",
      deviceClass(),
      { measured: null, measurementFailure: "runner-crashed: out of memory" },
      /could measure it: runner-crashed: out of memory/,
    ],
    [
      "one below the floor on the device alone",
      deviceClass({ budget: { metricFloor: 0.9 } }),
      measured({ metric: { value: 0.8, high: 0.84, n: 500 } }),
      /80\.00 % on gateway-1 \(500 samples\) is below the class's floor of 90\.00 %/,
    ],
    [
      "one that computes something else there",
      deviceClass(),
      measured({ parity: { flips: 40, n: 500 } }),
      /gateway-1 computes something else with the same file: 40 of 500/,
    ],
    [
      "one whose limited memory nobody measured",
      deviceClass({ budget: { metricFloor: 0, ramPeakBytesMax: 10 } }),
      measured({ ramPeakBytes: null }),
      /gateway-1 did not measure its memory/,
    ],
    [
      "a slow one on a busy machine",
      deviceClass({ budget: { metricFloor: 0, latencyMsMax: 0.5 } }),
      measured({ degraded: true }),
      /over the class's 0\.5 ms; the machine was busy/,
    ],
    [
      "a slow one",
      deviceClass({ budget: { metricFloor: 0, latencyMsMax: 0.5 } }),
      {},
      /1\.000 ms is over the class's 0\.5 ms/,
    ],
    [
      "a hungry one",
      deviceClass({ budget: { metricFloor: 0, ramPeakBytesMax: 10 } }),
      {},
      /1000 bytes is over the class's 10/,
    ],
  ];
  it.each(cases)("%s is told why", (_, of, change, why) => {
    const { winner, reasons } = choose(of, [variant("int8", change)], rule);
    expect(winner).toBeUndefined();
    expect(reasons).toEqual([{ recipe: "int8", won: false, why: expect.stringMatching(why) }]);
  });

  it("keeps one whose interval reaches the floor", () => {
    const of = deviceClass({ budget: { metricFloor: 0.96 } });
    expect(winnerOf(of, variant("int8"))).toBe("int8");
  });

  it("keeps one with as many other answers as chance allows", () => {
    const few = measured({ parity: { flips: 4, n: 500 } });
    expect(winnerOf(deviceClass(), variant("int8", few))).toBe("int8");
  });

  it("keeps one that a device without labels measured, and one without a memory limit", () => {
    const bare = measured({ metric: null, parity: null, ramPeakBytes: null });
    expect(winnerOf(deviceClass(), variant("int8", bare))).toBe("int8");
  });
});

it("what was foretold promotes nothing", () => {
  const fine = { processor: "arm", n: 200, metric: { value: 1, high: 1 }, worse: 0, better: 60 };
  const foretold = [fine as MeasuredVariant["foretold"][number]];
  expect(winnerOf(deviceClass(), variant("int8", { foretold, measured: null }))).toBeUndefined();
  const worse = variant("int8", { foretold, worse: 40 });
  expect(winnerOf(deviceClass(), worse)).toBeUndefined();
});

describe("objectives", () => {
  it("size takes the smallest file and says by how much the others lost", () => {
    const variants = [variant("fp32", { modelBytes: 4000 }), variant("int8", { modelBytes: 1000 })];
    const { winner, reasons } = choose(deviceClass(), variants, rule);
    expect(winner?.recipe).toBe("int8");
    expect(reasons[0]).toMatchObject({ won: false, why: expect.stringMatching(/4000.*1000/) });
    expect(reasons[1]?.won).toBe(true);
  });

  it("accuracy takes the best metric", () => {
    const better = { metric: { value: 0.99, high: 0.995 }, modelBytes: 9000 };
    const of = deviceClass({ objective: "accuracy" });
    expect(winnerOf(of, variant("int8"), variant("fp32", better))).toBe("fp32");
  });

  it("latency takes the fastest, and the smaller file where the difference is noise", () => {
    const of = deviceClass({ objective: "latency" });
    const slow = variant("fp32", { ...measured({ latencyP50Ms: 2 }), modelBytes: 10 });
    const fast = variant("fp16", { ...measured({ latencyP50Ms: 1 }), modelBytes: 3000 });
    const equal = variant("int8", { ...measured({ latencyP50Ms: 1.05 }), modelBytes: 1000 });
    expect(winnerOf(of, slow, fast, equal)).toBe("int8");
    expect(winnerOf(of, slow, fast)).toBe("fp16");
  });

  it("latency of a busy machine decides only when there is no other", () => {
    const of = deviceClass({ objective: "latency" });
    const busy = variant("fp16", measured({ latencyP50Ms: 0.1, degraded: true }));
    const steady = variant("int8", measured({ latencyP50Ms: 1 }));
    expect(winnerOf(of, busy, steady)).toBe("int8");
    expect(winnerOf(of, busy)).toBe("fp16");
    expect(choose(of, [busy], rule).reasons[0]?.why).toMatch(/the machine was busy/);
  });

  it("latency keeps the recipe in use until another one is faster beyond doubt", () => {
    const of = deviceClass({ objective: "latency" });
    const inUse = variant("fp16", { ...measured({ latencyP50Ms: 1 }), modelBytes: 3000 });
    const winner = (change: Partial<MeasuredFacts>, kept = inUse) =>
      choose(of, [variant("int8", measured(change)), kept], { ...rule, inUse: "fp16" }).winner;
    expect(winnerOf(of, variant("int8", measured({ latencyP50Ms: 0.95 })), inUse)).toBe("int8");
    expect(winner({ latencyP50Ms: 0.95 })?.recipe).toBe("fp16");
    expect(winner({ latencyP50Ms: 0.8, latencyIntervalMs: [0.7, 0.95] })?.recipe).toBe("fp16");
    expect(winner({ latencyP50Ms: 0.8 })?.recipe).toBe("int8");
    const busy = variant("fp16", measured({ latencyP50Ms: 2, degraded: true }));
    expect(winner({ latencyP50Ms: 0.8 }, busy)?.recipe).toBe("fp16");
    const slow = variant("fp16", { ...measured({ latencyP50Ms: 1 }), worse: 50 });
    expect(winner({ latencyP50Ms: 0.95 }, slow)?.recipe).toBe("int8");
  });

  it("falls back on the name, so that the order of rows decides nothing", () => {
    expect(winnerOf(deviceClass(), variant("int8"), variant("fp16"))).toBe("fp16");
    expect(winnerOf(deviceClass(), variant("fp16"), variant("int8"))).toBe("fp16");
  });
});

it("says when the choice rests on an emulated device", () => {
  const choice = choose(deviceClass(), [variant("int8", measured({ emulated: true }))], rule);
  expect(choice.emulated).toBe(true);
  expect(choice.reasons[0]?.why).toMatch(/emulated device: a fact about the machine/);
});
