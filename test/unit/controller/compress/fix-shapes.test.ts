/** Fixed shapes: what is named, what a sample says, what contradicts, and what the file says after. */
import { describe, expect, it } from "vitest";
import { type RunPassesResult, runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { floats, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";

async function fix(model: Model, options?: object, given?: readonly number[]) {
  const workbench = workbenchOf(() => (given === undefined ? [] : [feedsOf(given)(1)]));
  return runPasses({ model, passes: [findPass("fix-shapes")!.bind(options)], workbench });
}

const shapesOf = ({ model: { graph } }: RunPassesResult, ...names: string[]) =>
  names.map((name) => graph.declaredShape(name));

/** Relu of [n, 3, h, w], then what is not zero of it. */
function net(): Model {
  return buildModel({
    opset: 13,
    inputShape: ["n", 3, "h", "w"],
    outputs: ["y", "places"],
    nodes: [
      node("Relu", ["x"], ["r"]),
      node("Flatten", ["r"], ["y"]),
      node("NonZero", ["y"], ["at"]),
      node("Cast", ["at"], ["places"], { to: { int: 1 } }),
    ],
  });
}

describe("fix-shapes", () => {
  it("takes what a sample says, and what follows for other values", async () => {
    const fixed = await fix(net(), {}, [2, 3, 4, 5]);
    expect(shapesOf(fixed, "x", "r", "y")).toEqual([
      [2, 3, 4, 5],
      [2, 3, 4, 5],
      [2, 60],
    ]);
    expect(fixed.journal[0]!.report).toEqual({ fixed: ["x[0]", "x[2]", "x[3]"], left: [] });
  });

  it("says nothing of values whose shape hangs on what is in them", async () => {
    const fixed = await fix(net(), {}, [2, 3, 4, 5]);
    expect(shapesOf(fixed, "at", "places")).toEqual([undefined, undefined]);
    const zeros = new Map([["x", floats(new Float32Array(120), [2, 3, 4, 5])]]);
    expect((await runOnce(fixed.model.encode(), zeros)).get("places")!.shape).toEqual([2, 0]);
  });

  it("takes inputs and dims by name, and leaves the rest if told to", async () => {
    const one = await fix(net(), { dims: { h: 8 }, rest: "keep" }, [2, 3, 4, 5]);
    expect(shapesOf(one, "x")).toEqual([["n", 3, 8, "w"]]);
    expect(one.journal[0]!.report["left"]).toEqual(["x[0]", "x[3]"]);
    const all = await fix(net(), { inputs: { x: [1, 3, 6, 7] } });
    expect(shapesOf(all, "x", "y")).toEqual([
      [1, 3, 6, 7],
      [1, 126],
    ]);
  });

  it("lets a named dim have one length wherever it stands", async () => {
    const model = net();
    model.graph.setInputInfos([...model.graph.inputs, makeValueInfo("z", "float32", ["n", "h"])]);
    const fixed = await fix(model, { dims: { n: 4 }, inputs: { x: [4, 3, 2, 2] } });
    expect(shapesOf(fixed, "x", "z")).toEqual([
      [4, 3, 2, 2],
      [4, 2],
    ]);
  });

  it("reports what is left where nothing says it", async () => {
    const { journal, model } = await runPasses({
      model: net(),
      passes: [findPass("fix-shapes")!.bind({})],
    });
    expect(journal[0]).toMatchObject({
      modified: false,
      report: { left: ["x[0]", "x[2]", "x[3]"] },
    });
    expect(model.graph.declaredShape("x")).toEqual(["n", 3, "h", "w"]);
  });

  it.each([
    ["an unknown input", { inputs: { q: [1] } }, "no input has the input q"],
    ["an unknown dim", { dims: { q: 1 } }, "no input has the dim q; known are n, h, w"],
    ["another rank", { inputs: { x: [1, 3] } }, "4 dims, not 2"],
    ["another fixed length", { inputs: { x: [1, 4, 2, 2] } }, "dim 1 of input x is 3, not 4"],
    ["two lengths", { dims: { n: 2 }, inputs: { x: [1, 3, 2, 2] } }, "is 2, not 1"],
  ])("refuses %s", async (_name, options, message) => {
    await expect(fix(net(), options)).rejects.toMatchObject({
      code: "pass-failed",
      message: expect.stringContaining(message),
    });
  });

  it("refuses lengths on which the model does not run", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: ["n", 4],
      nodes: [node("Reshape", ["x", "to"], ["y"])],
      initializers: [intTensor("to", [2, 8])],
    });
    await expect(fix(model, { dims: { n: 3 } })).rejects.toMatchObject({ code: "pass-failed" });
    expect(shapesOf(await fix(model, { dims: { n: 4 } }), "y")).toEqual([[2, 8]]);
  });

  it("lets shape arithmetic be folded", async () => {
    const sample = sampleNets.find(({ name }) => name === "shape arithmetic")!;
    const names = ["fix-shapes", "fold-constants"];
    const { model } = await runPasses({
      model: sample.model(),
      passes: names.map((name) => findPass(name)!.bind({})),
      workbench: workbenchOf(() => [sample.feeds(1)]),
    });
    const found = model.graph.sortedNodes().map(({ opType }) => opType);
    expect(found).toEqual(["Conv", "Resize", "Max", "Reshape"]);
    const feeds = sample.feeds(2);
    const [before, after] = [
      (await runOnce(sample.model().encode(), feeds)).get("y")!,
      (await runOnce(model.encode(), feeds)).get("y")!,
    ];
    expect(signalToNoise(before.data as Float32Array, after.data as Float32Array)).toBeGreaterThan(
      120,
    );
  });
});

describe("unshare-weights", () => {
  const sample = sampleNets.find(({ name }) => name === "shared weights")!;
  const apply = (options: object) =>
    runPasses({ model: sample.model(), passes: [findPass("unshare-weights")!.bind(options)] });
  const inputsOf = ({ model }: RunPassesResult) =>
    model.graph.sortedNodes().map(({ inputs }) => inputs.filter((name) => /^[wb]/.test(name)));

  it("copies for each other way of reading", async () => {
    expect(inputsOf(await apply({}))).toEqual([
      ["w", "b_0"],
      [],
      ["w_0", "b_1"],
      ["w"],
      ["b"],
      ["b"],
    ]);
  });

  it("copies for every node that multiplies, if told to", async () => {
    const inputs = inputsOf(await apply({ all: true }));
    expect(new Set([inputs[0]![0], inputs[2]![0], inputs[3]![0]]).size).toBe(3);
  });

  it("leaves scalars and what a branch reads under its name", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1, 1],
      outputs: ["y", "w"],
      nodes: [
        node("Gemm", ["x", "w"], ["g"]),
        node("Mul", ["g", "s"], ["m"]),
        node("Add", ["m", "s"], ["y"]),
      ],
      initializers: [floatTensor("w", [1, 1], [2]), floatTensor("s", [], [3])],
    });
    const { model: unshared } = await runPasses({
      model,
      passes: [findPass("unshare-weights")!.bind({ all: true })],
    });
    expect(unshared.graph.sortedNodes().map(({ inputs }) => inputs)).toEqual([
      ["x", "w_0"],
      ["g", "s"],
      ["m", "s"],
    ]);
  });
});
