/** The plan of a recipe held against the graph that onnxruntime runs. */
import { describe, expect, it } from "vitest";
import {
  auditPlan,
  planFellBack,
  plannedLayers,
} from "../../../../controller/compress/fusion-plan.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { parityFeeds, parityNet, paritySeeds } from "./parity-net.ts";
import { optimizedBytes, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, filters, node } from "./sample-nets.ts";

type Passes = readonly (readonly [name: string, options: Record<string, unknown>])[];

async function audited(model: Model, passes: Passes, feeds: typeof parityFeeds = parityFeeds) {
  const result = await runPasses({
    model,
    passes: passes.map(([name, options]) => findPass(name)!.bind(options)),
    workbench: workbenchOf(() => paritySeeds.map(feeds)),
  });
  const plan = plannedLayers(result.journal);
  return { plan, ...auditPlan(plan, await optimizedBytes(result.model.encode())) };
}

const layers = ["c1_node", "c2_node", "h_node", "y_node"];

describe("a plan that holds", () => {
  it.each([
    ["in QDQ form", [["quantize-static", {}]]],
    [
      "in QOperator form",
      [
        ["quantize-static", {}],
        ["to-qoperator", {}],
      ],
    ],
    [
      "with short names",
      [
        ["quantize-static", {}],
        ["compact", {}],
      ],
    ],
    ["with uint8 weights", [["quantize-static", { weights: "uint8" }]]],
  ] as const)("%s", async (_form, passes) => {
    const { plan, planned, fellBack } = await audited(parityNet(), passes);
    expect(plan.map(({ layer }) => layer)).toEqual(layers);
    expect({ planned, fellBack }).toEqual({ planned: 4, fellBack: [] });
  });

  it("of nodes without names", async () => {
    const model = parityNet();
    for (const each of model.graph.nodes) each.setName("");
    const { plan, fellBack } = await audited(model, [["quantize-static", {}]]);
    expect(plan.map(({ layer }) => layer)).toEqual(["c1", "c2", "h", "y"]);
    expect(fellBack).toEqual([]);
  });

  it("asks nothing of layers that the recipe leaves float", async () => {
    const { planned, fellBack } = await audited(parityNet(), [
      ["quantize-static", { exclude: ["c2_node"] }],
    ]);
    expect({ planned, fellBack }).toEqual({ planned: 3, fellBack: [] });
  });
});

describe("a plan that does not hold", () => {
  /** Two convolutions read what the first one makes. */
  const branched = () =>
    buildModel({
      opset: 13,
      inputShape: [1, 4, 8, 8],
      nodes: [
        node("Conv", ["x", "w1"], ["c1"]),
        node("Conv", ["c1", "w2"], ["c2"]),
        node("Conv", ["c1", "w3"], ["c3"]),
        node("Add", ["c2", "c3"], ["y"]),
      ],
      initializers: [
        filters("w1", [8, 4, 3, 3], 1),
        filters("w2", [4, 8, 3, 3], 2),
        filters("w3", [4, 8, 3, 3], 3),
      ],
    });

  it("int8 activations that two layers read, unless the processor multiplies them", async () => {
    const { planned, fellBack } = await audited(
      branched(),
      [["quantize-static", { activations: "int8" }]],
      feedsOf([1, 4, 8, 8]),
    );
    expect(planned).toBe(3);
    const reasons = fellBack.map(({ layer, reason }) => `${layer}: ${reason}`);
    const expected = process.arch === "x64" ? ["c1_node", "c2_node", "c3_node"] : [];
    expect(reasons).toEqual(
      expected.map((layer) => `${layer}: this processor runs no int8 activations`),
    );
  });

  it("a layer that a float node reads beside its codes", async () => {
    const { model, journal } = await runPasses({
      model: branched(),
      passes: [findPass("quantize-static")!.bind({})],
      workbench: workbenchOf(() => paritySeeds.map(feedsOf([1, 4, 8, 8]))),
    });
    const { graph } = model;
    const first = graph.nodes.find(({ name }) => name === "c1_node")!;
    graph.addNode({ opType: "Tanh", inputs: [first.output(0)], outputs: ["t"] });
    graph.setOutputInfos([...graph.outputs, { ...graph.outputs[0]!, name: "t" }]);
    const { fellBack } = auditPlan(plannedLayers(journal), await optimizedBytes(model.encode()));
    expect(fellBack).toEqual([{ layer: "c1_node", reason: "its output is read as float too" }]);
    const error = planFellBack("mine", 3, fellBack);
    expect(error.code).toBe("plan-fell-back");
    expect(error.message).toContain("1 of 3 layers that recipe mine quantizes");
    expect(error.message).toContain("allowFallback");
  });
});
