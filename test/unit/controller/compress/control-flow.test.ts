/**
 * Branches and loops are left alone: nets whose bodies hold what every pass looks for, and read values
 * of the graph around that passes replace.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { applyRecipe } from "../../../../controller/compress/compress.ts";
import { parseRecipes, type Recipe } from "../../../../controller/compress/recipe.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import type { GraphProto, NodeProto } from "../../../../controller/onnx/schema.ts";
import { subgraphsOf } from "../../../../controller/onnx/subgraph.ts";
import { floatTensor, intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const recipes = parseRecipes(
  readFileSync(new URL("../../../../controller/compress/recipes.yaml", import.meta.url), "utf8"),
);
const shape = [4, 16];
const feeds = feedsOf(shape);

const weight = (name: string, dims: readonly number[], seed: number) =>
  floatTensor(name, dims, randomValues(seed, dims[0]! * (dims[1] ?? 1), 0.3));

function body(nodes: readonly NodeProto[], inputs: GraphProto["input"], outputs: string[]) {
  return makeGraph({
    nodes,
    inputs,
    outputs: outputs.map((name) => makeValueInfo(name, name === "going" ? "bool" : "float32")),
    // A weight of the body's own beside the ones it reads from around.
    initializers: [weight("own", [16, 16], 9), weight("own_bias", [16], 10)],
  });
}

/** What a pass would fold, join, recognise or quantize if it stood outside. */
const work: readonly NodeProto[] = [
  node("Identity", ["r1"], ["i"]),
  node("MatMul", ["i", "w"], ["m"]),
  node("Add", ["m", "b"], ["a"]),
  node("HardSigmoid", ["a"], ["k"], { alpha: { float: 1 / 6 } }),
  node("Mul", ["a", "k"], ["h"]),
  node("Gemm", ["h", "own", "own_bias"], ["made"]),
];

/** A Gemm on either side of an If or a Loop that reads the first one's output and its weight. */
function around(control: NodeProto): Model {
  return buildModel({
    opset: 13,
    inputShape: ["n", 16],
    nodes: [
      node("MatMul", ["x", "w"], ["g1"]),
      node("Add", ["g1", "b"], ["s1"]),
      node("Relu", ["s1"], ["r1"]),
      control,
      node("Gemm", ["c", "w2", "b"], ["g2"]),
      node("Add", ["g2", "r1"], ["y"]),
    ],
    initializers: [
      weight("w", [16, 16], 1),
      weight("w2", [16, 16], 2),
      weight("b", [16], 3),
      makeTensor({ name: "on", type: "bool", shape: [], data: Uint8Array.of(1) }),
      intTensor("times", [2], []),
    ],
  });
}

const branch = (): GraphProto => body(work, [], ["made"]);
const nets: readonly (readonly [string, () => Model])[] = [
  [
    "If",
    () =>
      around(
        makeNode({
          opType: "If",
          inputs: ["on"],
          outputs: ["c"],
          attributes: { then_branch: { graph: branch() }, else_branch: { graph: branch() } },
        }),
      ),
  ],
  [
    "Loop",
    () => {
      const inputs = [
        makeValueInfo("turn", "int64", []),
        makeValueInfo("going_in", "bool", []),
        makeValueInfo("carried", "float32"),
      ];
      const nodes = [
        node("Identity", ["going_in"], ["going"]),
        ...work,
        node("Add", ["made", "carried"], ["summed"]),
      ];
      return around(
        makeNode({
          opType: "Loop",
          inputs: ["times", "on", "r1"],
          outputs: ["c"],
          attributes: { body: { graph: body(nodes, inputs, ["going", "summed"]) } },
        }),
      );
    },
  ],
];

/** What the bodies hold, whatever outer values are called by now. */
function bodiesOf({ graph }: Model): unknown[] {
  return graph.nodes.flatMap(({ proto }) =>
    subgraphsOf(proto).map(({ node: nodes, initializer }) => ({
      operators: nodes.map(({ opType, attribute }) => [
        opType,
        attribute.map(({ f, i }) => f ?? i),
      ]),
      initializers: initializer.map(({ name, rawData }) => [name, rawData]),
    })),
  );
}

describe.each(nets)("a net with %s", (_name, net) => {
  it.each(recipes.map((recipe) => [recipe.name, recipe] as const))(
    "%s",
    async (_recipe, recipe) => {
      const source = net();
      const result = await applyRecipe({
        modelBytes: source.encode(),
        recipe: recipe as Recipe,
        workbench: workbenchOf(() => [1, 2, 3, 4].map(feeds)),
      });
      if (result.outcome !== "made") {
        expect(result.reason).toContain("GRU");
        return;
      }
      expect(bodiesOf(Model.decode(result.bytes))).toEqual(bodiesOf(source));
      const [before, after] = [
        (await runOnce(source.encode(), feeds(2))).get("y")!,
        (await runOnce(result.bytes, feeds(2))).get("y")!,
      ];
      const decibel = signalToNoise(before.data as Float32Array, after.data as Float32Array);
      const decibelMin = { fp32: 100, int4: 15 }[recipe.name.slice(0, 4)] ?? 25;
      expect(decibel).toBeGreaterThan(decibelMin);
    },
  );
});
