/** Calibration: what is observed, how ranges are chosen from it, and which samples are refused. */
import { describe, expect, it } from "vitest";
import {
  type Collected,
  collectStatistics,
} from "../../../../controller/compress/calibration/collect.ts";
import {
  calibrationOptions,
  type MethodOptions,
  rangesBy,
} from "../../../../controller/compress/calibration/registry.ts";
import { samplesSource } from "../../../../controller/compress/calibration/samples-source.ts";
import { tapModel } from "../../../../controller/compress/calibration/tap-model.ts";
import type { Feeds, TensorValue, Workbench } from "../../../../controller/compress/execute.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Range } from "../../../../controller/compress/quantize/scale.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { mergedSource } from "../../../../shared/calibration/source.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { floats, loadModel, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

/** The value itself, and what Relu makes of it. */
const passThrough = (length: number): Model =>
  buildModel({
    opset: 13,
    inputShape: [length],
    nodes: [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])],
  });

const feed = (values: Float32Array): Feeds => new Map([["x", floats(values, [values.length])]]);

/** Ranges of `x` by a method, for samples of one length each. */
async function rangeOf(options: MethodOptions, samples: readonly Float32Array[]): Promise<Range> {
  const collected = await collectStatistics({
    workbench: workbenchOf(() => samples.map(feed)),
    model: passThrough(samples[0]!.length),
    tensors: ["x", "r"],
    needsHistograms: true,
  });
  return rangesBy(options, collected.extremes, collected.histograms).get("x")!;
}

/** Normally distributed, by the central limit of twelve uniform values. */
function normalValues(seed: number, count: number): Float32Array {
  const uniform = randomValues(seed, count * 12, 0.5);
  return Float32Array.from({ length: count }, (_, index) =>
    uniform.subarray(index * 12, index * 12 + 12).reduce((sum, value) => sum + value, 0),
  );
}

const bell = normalValues(3, 30_000);
const deviation = Math.sqrt(bell.reduce((sum, value) => sum + value ** 2, 0) / bell.length);

/** The bell with one value at `factor` standard deviations. */
function withOutlier(factor: number): Float32Array {
  const values = bell.slice();
  values[0] = factor * deviation;
  return values;
}

describe("extremes", () => {
  it("are those of the values, bit for bit, in values of every rank", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: ["n", 4, 6, 6],
      nodes: [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("ReduceSum", ["f"], ["scalar"], { keepdims: { int: 0 } }),
        node("Add", ["f", "scalar"], ["y"]),
      ],
      initializers: [floatTensor("w", [5, 4, 3, 3], randomValues(1, 180, 0.4))],
    });
    const tensors = ["x", "c", "r", "f", "scalar"];
    const samples = [1, 2, 3].map(feedsOf([1, 4, 6, 6]));
    const { extremes } = await collectStatistics({
      workbench: workbenchOf(() => samples),
      model,
      tensors,
      needsHistograms: false,
    });
    const loaded = await loadModel(tapModel(model, tensors).encode(), "basic");
    const seen = new Map<string, number[]>();
    for (const sample of samples) {
      const values = new Map([...sample, ...(await loaded.run(sample))]);
      for (const name of tensors) {
        seen.set(name, [...(seen.get(name) ?? []), ...(values.get(name)!.data as Float32Array)]);
      }
    }
    await loaded.close();
    for (const name of tensors) {
      const values = seen.get(name)!;
      expect(extremes.get(name)!.full).toEqual({
        min: Math.min(...values),
        max: Math.max(...values),
      });
      expect(extremes.get(name)!.samples).toBe(3);
    }
  });
});

describe("methods", () => {
  it("min-max keeps an outlier", async () => {
    const { max } = await rangeOf({ method: "min-max" }, [withOutlier(60)]);
    expect(max).toBe(Math.fround(60 * deviation));
  });

  it("moving average gives each sample its weight", async () => {
    const samples = [1, 3, 11].map((top) => Float32Array.of(-top, 0, top));
    const exponential = await rangeOf(
      { method: "moving-average", average: "exponential" },
      samples,
    );
    expect(exponential.max).toBeCloseTo(1 + 0.02 + 0.01 * (11 - 1.02), 12);
    const arithmetic = await rangeOf({ method: "moving-average", average: "arithmetic" }, samples);
    expect(arithmetic).toEqual({ min: -5, max: 5 });
  });

  it("percentile leaves out the same share at both ends", async () => {
    const values = withOutlier(60);
    const { min, max } = await rangeOf({ method: "percentile", percent: 99 }, [values]);
    const within = (low: number, high: number) =>
      values.filter((value) => value >= low && value < high).length / values.length;
    expect(within(Number.NEGATIVE_INFINITY, min)).toBeCloseTo(0.005, 3);
    expect(within(max, Number.POSITIVE_INFINITY)).toBeCloseTo(0.005, 3);
    expect(max).toBeLessThan(4 * deviation);
  });

  it("percentile cuts what is never negative above only", async () => {
    const values = Float32Array.from({ length: 20_000 }, (_, index) => index / 20_000);
    const { min, max } = await rangeOf({ method: "percentile", percent: 99 }, [values]);
    expect(min).toBe(0);
    expect(max).toBeCloseTo(0.99, 2);
  });

  // onnxruntime 1.30's quantizer keeps all of it: its entropy calibration tries the full range only.
  it.each([128, 256] as const)("entropy of %i levels clips 60 sigma", async (levels) => {
    const rectified = withOutlier(60).map((value) => Math.max(0, value));
    const { min, max } = await rangeOf({ method: "entropy", levels }, [rectified]);
    expect(min).toBe(0);
    expect(max).toBeGreaterThan(2 * deviation);
    expect(max).toBeLessThan(12 * deviation);
  });

  it("entropy clips a symmetric tensor on both sides and leaves a lopsided one alone", async () => {
    const both = withOutlier(60);
    both[1] = -60 * deviation;
    const clipped = await rangeOf({ method: "entropy", levels: 128 }, [both]);
    expect(clipped.max).toBeLessThan(12 * deviation);
    expect(clipped.min).toBe(-clipped.max);
    const lopsided = await rangeOf({ method: "entropy", levels: 128 }, [withOutlier(60)]);
    expect(lopsided.max).toBe(Math.fround(60 * deviation));
  });

  it("mse lies nearer to the values than min-max, and never farther", async () => {
    const values = withOutlier(200);
    const options = { method: "mse" } as const;
    const { min, max } = await rangeOf(options, [values]);
    // With n values rounded in steps of T/255 and one clipped from A to T, the least of
    // (A − T)² + n · T² / (12 · 255²) is at T = A / (1 + n / (12 · 255²)).
    const expected = (200 * deviation) / (1 + values.length / (12 * 255 ** 2));
    expect(Math.abs(max / expected - 1)).toBeLessThan(0.02);
    expect(max).toBeLessThan(199 * deviation);
    const errorOf = (low: number, high: number): number => {
      const scale = (high - low) / 255;
      const zeroPoint = Math.round(-low / scale);
      return values.reduce((sum, value) => {
        const code = Math.min(255, Math.max(0, Math.round(value / scale) + zeroPoint));
        return sum + (value - (code - zeroPoint) * scale) ** 2;
      }, 0);
    };
    const full = await rangeOf({ method: "min-max" }, [values]);
    expect(errorOf(min, max)).toBeLessThan(errorOf(full.min, full.max));
    const even = Float32Array.from({ length: 4096 }, (_, index) => index / 4095);
    expect(await rangeOf(options, [even])).toEqual({ min: 0, max: 1 });
  });

  it.each([
    { method: "min-max" },
    { method: "percentile", percent: 99.9 },
    { method: "entropy", levels: 128 },
    { method: "mse" },
  ] as const)("$method of a constant and of zeros", async (options) => {
    expect(await rangeOf(options, [new Float32Array(8).fill(3)])).toEqual({ min: 3, max: 3 });
    expect(await rangeOf(options, [new Float32Array(8)])).toEqual({ min: 0, max: 0 });
  });
});

describe("samples that do not fit", () => {
  const collect = (samples: readonly Feeds[], model = passThrough(2)) =>
    collectStatistics({
      workbench: workbenchOf(() => samples),
      model,
      tensors: ["x", "r"],
      needsHistograms: false,
    });
  const value = (more: Partial<TensorValue>): Feeds =>
    new Map([["x", { ...floats(Float32Array.of(1, 2), [2]), ...more }]]);

  it.each([
    ["none at all", [], "add samples"],
    ["another name", [new Map([["z", floats(Float32Array.of(1, 2), [2])]])], "inputs are x"],
    ["an input missing", [new Map()], "nothing for input x"],
    ["another type", [value({ type: "uint8", data: Uint8Array.of(1, 2) })], "takes float32"],
    ["another shape", [value({ shape: [1, 1, 2] })], "takes [2], the sample is [1, 1, 2]"],
    ["another length", [value({ shape: [1], data: Float32Array.of(1) })], "takes [2]"],
    [
      "no numbers",
      [value({}), value({ data: Float32Array.of(1, Number.NaN) })],
      "x holds NaN at 1",
    ],
  ])("%s", async (_what, samples, words) => {
    await expect(collect(samples)).rejects.toMatchObject({
      code: "calibration-failed",
      message: expect.stringContaining(words),
    });
  });

  it("values in the middle that are no numbers, wherever they hide", async () => {
    // The logarithm of −1 is NaN, at a place where neither extreme shows it.
    const model = buildModel({
      opset: 13,
      inputShape: [6],
      nodes: [node("Log", ["x"], ["r"]), node("Neg", ["r"], ["y"])],
    });
    await expect(collect([feed(Float32Array.of(1, 2, 3, -1, 4, 5))], model)).rejects.toMatchObject({
      code: "calibration-failed",
      message: expect.stringMatching(/NaN at r for calibration sample 0/),
    });
    await expect(collect([feed(Float32Array.of(1, 2, 3, 0, 4, 5))], model)).rejects.toMatchObject({
      message: expect.stringMatching(/-Infinity at r/),
    });
  });

  it("a model that cannot run on them", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: ["n", 4],
      nodes: [node("Reshape", ["x", "shape"], ["r"]), node("Neg", ["r"], ["y"])],
      initializers: [],
    });
    model.graph.setInitializer(intTensor("shape", [3, 3]));
    const sample: Feeds = new Map([["x", floats(new Float32Array(4), [1, 4])]]);
    await expect(collect([sample], model)).rejects.toMatchObject({
      code: "calibration-failed",
      message: expect.stringContaining("does not run on calibration sample 0"),
    });
  });
});

describe("cache", () => {
  function remembering(identity: string, store: Map<string, Uint8Array>): Workbench {
    return {
      ...workbenchOf(() => [withOutlier(60)].map(feed)),
      calibrationCache: {
        identity,
        read: async (key) => store.get(key),
        write: async (key, table) => {
          store.set(key, table);
        },
      },
    };
  }
  const options = { model: passThrough(bell.length), tensors: ["x"], needsHistograms: true };

  it("gives the same statistics again without a sample being read", async () => {
    const store = new Map<string, Uint8Array>();
    const workbench = remembering("a", store);
    const fresh = await collectStatistics({ ...options, workbench });
    const blind: Workbench = {
      ...workbench,
      calibration: () => {
        throw new Error("samples are read again");
      },
    };
    expect(await collectStatistics({ ...options, workbench: blind })).toEqual(fresh);
    expect(store.size).toBe(2);
  });

  it("knows other samples, other models and other values apart", async () => {
    const store = new Map<string, Uint8Array>();
    await collectStatistics({ ...options, workbench: remembering("a", store) });
    await collectStatistics({ ...options, workbench: remembering("b", store) });
    expect(store.size).toBe(4);
    await collectStatistics({ ...options, tensors: ["r"], workbench: remembering("b", store) });
    expect(store.size).toBe(6);
    const { model } = options;
    const other = buildModel({
      opset: 13,
      inputShape: [bell.length],
      nodes: [node("Relu", ["x"], ["r"]), node("Abs", ["r"], ["y"])],
    });
    expect(other.graph.inputNames).toEqual(model.graph.inputNames);
    await collectStatistics({ ...options, model: other, workbench: remembering("b", store) });
    expect(store.size).toBe(8);
  });

  it("observes anew when a table is damaged", async () => {
    const store = new Map<string, Uint8Array>();
    const workbench = remembering("a", store);
    const fresh = await collectStatistics({ ...options, workbench });
    for (const key of store.keys()) store.set(key, Uint8Array.of(0xa1, 0x61));
    expect(await collectStatistics({ ...options, workbench })).toEqual(fresh);
  });
});

describe("sources", () => {
  it("two devices with half of the data each come to the ranges of all of it", async () => {
    const model = passThrough(400);
    const samples = Array.from({ length: 8 }, (_, at) => feed(normalValues(at, 400)));
    const sourceOf = (part: readonly Feeds[]) =>
      samplesSource({ workbench: workbenchOf(() => part), graph: model.graph });
    const options = { model, tensors: ["x", "r"], needsHistograms: true };
    const apart = await collectStatistics({
      ...options,
      workbench: {
        ...workbenchOf(() => []),
        calibrationSource: mergedSource([
          sourceOf(samples.slice(0, 3)),
          sourceOf(samples.slice(3)),
        ]),
      },
    });
    const together = await collectStatistics({ ...options, workbench: workbenchOf(() => samples) });
    expect(apart.histograms).toEqual(together.histograms);
    for (const method of ["min-max", "mse"] as const) {
      const rangesOf = ({ extremes, histograms }: Collected) =>
        rangesBy({ method }, extremes, histograms);
      expect(rangesOf(apart)).toEqual(rangesOf(together));
    }
  });
});

describe("auto", () => {
  /** A convolution whose input has one value at 60 sigma in one calibration sample. */
  const model = buildModel({
    opset: 13,
    inputShape: ["n", 4, 8, 8],
    nodes: [
      node("Conv", ["x", "w1"], ["c1"]),
      node("Relu", ["c1"], ["r1"]),
      node("Conv", ["r1", "w2"], ["y"]),
    ],
    initializers: [
      floatTensor("w1", [8, 4, 3, 3], randomValues(1, 288, 0.3)),
      floatTensor("w2", [8, 8, 3, 3], randomValues(2, 576, 0.3)),
    ],
  });
  const feeds = feedsOf([1, 4, 8, 8]);
  const spoiled = (seed: number): Feeds => {
    const data = (feeds(seed).get("x")!.data as Float32Array).slice();
    data[100] = 60;
    return new Map([["x", floats(data, [1, 4, 8, 8])]]);
  };
  const quantize = (workbench: Workbench, options: unknown) =>
    runPasses({
      model,
      passes: [findPass("quantize-static")!.bind({ reduceRange: true, calibration: options })],
      workbench,
    });
  const calibration = () => [spoiled(1), ...[2, 3, 4, 5, 6].map(feeds)];
  const heldOut = () => [11, 12, 13, 14].map(feeds);
  const candidates = [{ method: "min-max" }, { method: "percentile", percent: 99.9 }];

  it("keeps what is nearest to the float model on held-out samples", async () => {
    const { model: best, journal } = await quantize(workbenchOf(calibration, heldOut), {
      method: "auto",
      candidates,
    });
    expect(journal[0]!.report).toMatchObject({
      calibration: "percentile 99.9",
      calibrationScoredOn: "held-out samples",
    });
    const alone = await quantize(workbenchOf(calibration), candidates[1]);
    expect(best.encode()).toEqual(alone.model.encode());
  });

  it("lets labels decide where they differ beyond noise", async () => {
    // The judge that is asked second, for the other candidate, finds every answer wrong.
    const verdicts = [0, 1];
    const judged: Workbench = {
      ...workbenchOf(calibration, heldOut),
      judge: {
        losses: (outputs) => new Float64Array(outputs.length).fill(verdicts.shift()!),
      },
    };
    const { journal } = await quantize(judged, { method: "auto", candidates });
    expect(journal[0]!.report["calibration"]).toBe("min-max");
  });

  it("falls back to the calibration samples, and says so", async () => {
    const { journal } = await quantize(workbenchOf(calibration), { method: "auto", candidates });
    expect(journal[0]!.report["calibrationScoredOn"]).toBe("calibration samples");
  });

  it("tells how far it is", async () => {
    const many = Array.from({ length: 130 }, (_, at) => feeds(at));
    const seen: (number | undefined)[] = [];
    await runPasses({
      model,
      passes: [findPass("quantize-static")!.bind({})],
      workbench: workbenchOf(() => many),
      onProgress: ({ samples }) => seen.push(samples),
    });
    expect(seen).toEqual([undefined, 64, 128]);
  });

  it("has candidates of its own, and wants two at least", () => {
    const parsed = calibrationOptions.parse({ method: "auto" });
    expect(parsed).toMatchObject({ candidates: [{ method: "min-max" }, {}, {}, {}, {}] });
    expect(() =>
      calibrationOptions.parse({ method: "auto", candidates: [{ method: "mse" }] }),
    ).toThrow();
  });
});
