/** Accuracy foretold for other processors: what is emulated, what needs not be, and what cannot. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { type ForetellJob, foretellElsewhere } from "../../../../controller/jobs/foretell.ts";
import { workbenchOf } from "../../../../controller/jobs/workbench.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { makeTensor } from "../../../../controller/onnx/tensor.ts";
import { systemClock } from "../../../../shared/adapters/system-clock.ts";
import type { Foretold } from "../../../../shared/api/evaluation.ts";
import { buildGoldenSet, parseGoldenManifest } from "../../../../shared/evaluation/golden-set.ts";
import { splitPool } from "../../../../shared/evaluation/golden-split.ts";
import {
  saturatingGolden,
  saturatingInterface,
  saturatingModelBytes,
} from "../../../helpers/saturating-classifier.ts";
import { buildModel, node } from "../compress/sample-nets.ts";

const golden = saturatingGolden();
const set = buildGoldenSet(
  parseGoldenManifest(golden["golden.json"]),
  new Map(Object.entries(golden)),
);
const split = splitPool(set, 1);

async function quantized(options: Record<string, unknown> = {}): Promise<Uint8Array> {
  const { model } = await runPasses({
    model: Model.decode(saturatingModelBytes()),
    passes: [findPass("quantize-static")!.bind(options)],
    workbench: workbenchOf(set, split, saturatingInterface),
  });
  return model.encode();
}

const told = (modelBytes: Uint8Array, change: Partial<ForetellJob> = {}): Promise<Foretold[]> =>
  foretellElsewhere(
    {
      modelBytes,
      interface: saturatingInterface,
      assets: {},
      set,
      selection: split.selection,
      seed: 1,
      // The source is right on all samples.
      source: { top1: set.labels, outputs: [] },
      here: "vnni",
      bound: { samplesMax: 60, timeMaxMs: 60_000 },
      clock: systemClock(),
      ...change,
    },
    () => {},
  );

describe("a variant whose pairs saturate", () => {
  it("is foretold for the other processors, on the samples that the bound grants", async () => {
    const [avx2, arm, ...others] = await told(await quantized());
    expect(others).toEqual([]);
    expect(arm).toEqual({
      processor: "arm",
      outcome: "foretold",
      // Clopper and Pearson: 0.025 to the power of 1/60.
      score: { value: 1, low: expect.closeTo(0.025 ** (1 / 60), 9), high: 1, n: 60 },
      worse: 0,
      better: 0,
    });
    if (avx2?.outcome !== "foretold") throw new Error(avx2?.outcome);
    expect(avx2.processor).toBe("avx2");
    expect(avx2.better).toBe(0);
    expect(avx2.worse).toBeGreaterThan(20);
    expect(avx2.score).toMatchObject({ value: (60 - avx2.worse) / 60, n: 60 });
    expect(avx2.score.high).toBeLessThan(0.8);
  });

  it("is foretold for VNNI where that is what is missing", async () => {
    const outcomes = await told(await quantized(), { here: "avx2" });
    expect(outcomes).toMatchObject([
      { processor: "vnni", outcome: "foretold", worse: 0, score: { value: 1 } },
      { processor: "arm", outcome: "foretold", worse: 0 },
    ]);
  });

  it("is foretold on the same samples each time, on all of them at most", async () => {
    const model = await quantized();
    const few = { bound: { samplesMax: 15, timeMaxMs: 60_000 } };
    expect(await told(model, few)).toEqual(await told(model, few));
    const [avx2] = await told(model, { bound: { samplesMax: 1_000, timeMaxMs: 60_000 } });
    expect(avx2).toMatchObject({ score: { n: split.selection.length } });
  });
});

describe("a variant that needs no emulation", () => {
  it.each([[{ reduceRange: true }], [{ weightScale: { strategy: "pair-aware" } }]])(
    "answers on every x86 as here: %o",
    async (options) => {
      const model = await quantized(options);
      const asHere = { processor: "avx2", outcome: "as-here" };
      expect(await told(model)).toMatchObject([asHere, { processor: "arm", outcome: "foretold" }]);
      // Arm is no x86, so neither of them answers as it does.
      const fromArm = await told(model, { here: "arm" });
      expect(fromArm.map(({ outcome }) => outcome)).toEqual(["foretold", "foretold"]);
    },
  );

  it("is one without integer layers, or any where nothing is wanted", async () => {
    expect(await told(saturatingModelBytes())).toEqual([]);
    const nothing = { bound: { samplesMax: 0, timeMaxMs: 60_000 } };
    expect(await told(await quantized(), nothing)).toEqual([]);
  });
});

describe("a variant that is not foretold", () => {
  it("has an operator without emulation, which is named", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1, 64],
      nodes: [
        node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        node("Unsqueeze", ["codes", "axes"], ["rows"]),
        node("ConvInteger", ["rows", "w", "zero"], ["sums"]),
        node("Cast", ["sums"], ["y"], { to: { int: 1 } }),
      ],
      initializers: [
        makeTensor({ name: "axes", type: "int64", shape: [1], data: BigInt64Array.of(2n) }),
        makeTensor({
          name: "w",
          type: "int8",
          shape: [2, 64, 1],
          data: new Int8Array(128).fill(3),
        }),
      ],
    });
    expect(await told(model.encode())).toEqual([
      { processor: "avx2", outcome: "not-foretold", why: "ConvInteger" },
      { processor: "arm", outcome: "not-foretold", why: "ConvInteger" },
    ]);
  });

  it("is too slow for ten samples, and given up after the first; a little faster has fewer samples", async () => {
    const model = await quantized();
    /** Every look at this clock takes `ms`, so each sample does. */
    const slow = (ms: number) => {
      let nowMs = 0;
      const clock = { ...systemClock(), monotonicMs: () => (nowMs += ms) };
      return { clock, bound: { samplesMax: 60, timeMaxMs: 1_000 } };
    };
    expect((await told(model, slow(101)))[0]).toEqual({
      processor: "avx2",
      outcome: "not-foretold",
      why: "1 samples took too long for 10 to fit into 1000 ms",
    });
    expect((await told(model, slow(50)))[0]).toMatchObject({ score: { n: 21 } });
  });

  it("is one that the emulation fails on, which says why and fails nothing else", async () => {
    const output = { kind: "tensors" as const, tensors: ["z"] };
    const other = { interface: { ...saturatingInterface, output } };
    const [avx2] = await told(await quantized(), other);
    expect(avx2).toMatchObject({ outcome: "not-foretold", why: expect.stringContaining("z") });
  });
});
