/** Recorded statistics, and channels that get theirs back. */
import { describe, expect, it } from "vitest";
import type { Feeds } from "../../../../controller/compress/execute.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, tensorFloats } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { floats, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const shape = [1, 3, 8, 8];
const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
const samples = () => seeds.map(feedsOf(shape));
const check = feedsOf(shape)(21);
const pads = { pads: { ints: [1, 1, 1, 1] } };

const weight = (name: string, dims: readonly number[], seed: number) => {
  const count = dims.reduce((product, dim) => product * dim, 1);
  return floatTensor(name, dims, randomValues(seed, count, 0.3));
};

const net = (): Model =>
  buildModel({
    opset: 13,
    inputShape: shape,
    nodes: [
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Relu", ["c1"], ["r1"]),
      node("Conv", ["r1", "w2"], ["c2"], pads),
      node("Relu", ["c2"], ["r2"]),
      node("Conv", ["r2", "w3", "b3"], ["y"], pads),
    ],
    initializers: [
      weight("w1", [6, 3, 3, 3], 1),
      weight("b1", [6], 2),
      weight("w2", [6, 6, 3, 3], 3),
      weight("w3", [4, 6, 3, 3], 4),
      weight("b3", [4], 5),
    ],
  });

async function run(model: Model, steps: readonly string[], feeds: () => Feeds[] = samples) {
  const passes = steps.map((name) => findPass(name)!.bind(undefined));
  return runPasses({ model, passes, workbench: workbenchOf(feeds) });
}

async function answer(model: Model, feeds: Feeds = check): Promise<Float32Array> {
  return [...(await runOnce(model.encode(), feeds)).values()][0]!.data as Float32Array;
}

/** What pruning does to sums: the smallest two fifths of a weight become 0. */
function pruned(model: Model): Model {
  const copy = model.clone();
  for (const name of ["w1", "w2", "w3"]) {
    const tensor = copy.graph.constant(name)!;
    const values = tensorFloats(tensor);
    const magnitudes = values.map(Math.abs).sort();
    const bound = magnitudes[Math.floor(magnitudes.length * 0.4)]!;
    const kept = values.map((value) => (Math.abs(value) < bound ? 0 : value * 0.7));
    copy.graph.setInitializer(floatTensor(name, tensor.dims.map(Number), kept));
  }
  return copy;
}

describe("re-estimate-normalisation", () => {
  it("brings a net whose weights lost something closer to its source", async () => {
    const source = net();
    const { model: recorded } = await run(source, ["record-normalisation"]);
    const changed = pruned(recorded);
    const { model: mended, journal } = await run(changed, ["re-estimate-normalisation"]);
    expect(journal[0]!.report).toEqual({ recorded: 3, layers: 3, batchNorms: 0 });
    const expected = await answer(source);
    const [before, after] = [await answer(changed), await answer(mended)];
    expect(signalToNoise(expected, after)).toBeGreaterThan(signalToNoise(expected, before) + 4);
  });

  it("changes no weight where nothing was changed, and takes the record out", async () => {
    const source = net();
    const steps = ["record-normalisation", "re-estimate-normalisation"];
    const { model, journal } = await run(source, steps);
    expect(journal[1]!.report).toMatchObject({ layers: 0 });
    expect(model.encode()).toEqual(source.encode());
  });

  it("leaves a channel alone that has fallen silent, but for its mean", async () => {
    const { model: recorded } = await run(net(), ["record-normalisation"]);
    const silent = recorded.clone();
    const values = tensorFloats(silent.graph.constant("w1")!).slice().fill(0, 0, 27);
    silent.graph.setInitializer(floatTensor("w1", [6, 3, 3, 3], values));
    const { model } = await run(silent, ["re-estimate-normalisation"]);
    const mended = tensorFloats(model.graph.constant("w1")!).slice(0, 27);
    expect([...new Set(mended)]).toEqual([0]);
    expect((await answer(model)).every(Number.isFinite)).toBe(true);
  });

  it("does not apply without a record", async () => {
    const { notApplicable } = await run(net(), ["re-estimate-normalisation"]);
    expect(notApplicable?.reason).toMatch("record-normalisation");
  });

  it.each([
    "{",
    '{"c1":{"mean":"AAAA","deviation":"AAA"}}',
    '{"c1":{"mean":"AADAfw==","deviation":"AADAfw=="}}',
  ])("refuses a damaged record: %s", async (value) => {
    const { model: recorded } = await run(net(), ["record-normalisation"]);
    const proto = recorded.toProto();
    const metadataProps = proto.metadataProps.map((entry) => ({ ...entry, value }));
    const damaged = Model.fromProto({ ...proto, metadataProps });
    await expect(run(damaged, ["re-estimate-normalisation"])).rejects.toMatchObject({
      code: "pass-failed",
    });
  });

  it("says that it needs samples", async () => {
    const { model } = await run(net(), ["record-normalisation"]);
    const passes = [findPass("re-estimate-normalisation")!.bind(undefined)];
    await expect(runPasses({ model, passes })).rejects.toMatchObject({ code: "pass-failed" });
  });
});

describe("batch normalisation on data that have shifted", () => {
  const normalised = (): Model =>
    buildModel({
      opset: 15,
      inputShape: shape,
      nodes: [
        node("Conv", ["x", "w1"], ["c1"], pads),
        node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads),
        node("BatchNormalization", ["c2", "gamma", "beta", "mean2", "var2"], ["y"]),
      ],
      initializers: [
        weight("w1", [6, 3, 3, 3], 1),
        weight("w2", [6, 6, 3, 3], 2),
        ...["gamma", "var", "var2"].map((name) =>
          floatTensor(name, [6], new Float32Array(6).fill(1)),
        ),
        ...["beta", "mean", "mean2"].map((name) => floatTensor(name, [6], new Float32Array(6))),
      ],
    });
  const shifted = (seed: number): Feeds => {
    const { data } = feedsOf(shape)(seed).get("x")!;
    return new Map([
      [
        "x",
        floats(
          (data as Float32Array).map((value) => 3 * value + 1),
          shape,
        ),
      ],
    ]);
  };
  const pass = findPass("re-estimate-normalisation")!.bind({ batchNorm: true });

  it("outputs get the mean and deviation that the normalisation promises", async () => {
    const workbench = workbenchOf(() => seeds.map(shifted));
    const once = await runPasses({ model: normalised(), passes: [pass], workbench });
    expect(once.journal[0]!.report).toMatchObject({ batchNorms: 2 });
    const values: number[] = [];
    for (const seed of seeds) values.push(...(await answer(once.model, shifted(seed))));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const square = values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(0, 2);
    expect(square).toBeCloseTo(1, 2);
    const twice = await runPasses({ model: once.model, passes: [pass], workbench });
    expect(twice.journal[0]!.modified).toBe(false);
  });

  it("also where the data come in", async () => {
    const model = buildModel({
      opset: 15,
      inputShape: shape,
      nodes: [node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], ["y"])],
      initializers: ["gamma", "beta", "mean", "var"].map((name, at) =>
        floatTensor(name, [3], new Float32Array(3).fill(at === 0 || at === 3 ? 1 : 0)),
      ),
    });
    const workbench = workbenchOf(() => seeds.map(shifted));
    const { model: adapted } = await runPasses({ model, passes: [pass], workbench });
    const means = tensorFloats(adapted.graph.constant("mean")!);
    for (const mean of means) expect(Math.abs(mean - 1)).toBeLessThan(0.5);
  });
});
