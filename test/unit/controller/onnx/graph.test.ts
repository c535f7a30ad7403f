/** The editable graph: maps that stay right, order, names, and captures of subgraphs. */
import { describe, expect, it } from "vitest";
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
} from "../../../../controller/onnx/build.ts";
import { elementTypes } from "../../../../controller/onnx/element-types.ts";
import type { Graph } from "../../../../controller/onnx/graph.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { printModel } from "../../../../controller/onnx/printer.ts";
import { encodeModel } from "../../../../controller/onnx/proto.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { convModel } from "./sample-models.ts";

function load(): Model {
  return Model.decode(encodeModel(convModel()));
}

const names = (graph: Graph): string[] => graph.sortedNodes().map((node) => node.name);

/** If(cond) { then: y = Add(r, k) } where r comes from the graph around. */
function branchingModel(): Model {
  const branch = (name: string) =>
    makeGraph({
      name,
      nodes: [makeNode({ opType: "Add", inputs: ["r", "k"], outputs: [`${name}_y`] })],
      inputs: [],
      outputs: [makeValueInfo(`${name}_y`, "float32", [2])],
      initializers: [floatTensor("k", [2], [1, 2])],
    });
  return Model.fromProto(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          makeNode({ opType: "Relu", inputs: ["x"], outputs: ["r"] }),
          makeNode({
            opType: "If",
            inputs: ["cond"],
            outputs: ["y"],
            attributes: {
              then_branch: { graph: branch("then") },
              else_branch: { graph: branch("else") },
            },
          }),
        ],
        inputs: [makeValueInfo("x", "float32", [2]), makeValueInfo("cond", "bool", [])],
        outputs: [makeValueInfo("y", "float32", [2])],
      }),
    }),
  );
}

describe("reading", () => {
  it("knows who makes and who reads a value", () => {
    const { graph } = load();
    expect(graph.producerOf("r1")!.name).toBe("relu");
    expect(graph.consumersOf("r1").map(({ name }) => name)).toEqual(["second", "sum"]);
    expect(graph.onlyConsumerOf("c1")!.name).toBe("relu");
    expect(graph.onlyConsumerOf("r1")).toBeUndefined();
    expect(graph.onlyConsumerOf("y")).toBeUndefined();
    expect(graph.declaredShape("x")).toEqual(["n", 3, 8, 8]);
    expect(graph.constant("w1")!.name).toBe("w1");
  });

  it("reads attributes with their defaults", () => {
    const { graph } = load();
    const [first] = graph.nodes;
    expect(first!.ints("pads", [0, 0, 0, 0])).toEqual([1, 1, 1, 1]);
    expect(first!.int("group", 1)).toBe(1);
    expect(first!.ints("strides", undefined)).toBeUndefined();
    expect(() => first!.int("pads", 0)).toThrow("wrong type");
  });

  it("infers element types", () => {
    const { graph } = load();
    graph.addNode({ opType: "Shape", inputs: ["r1"], outputs: ["s"] });
    graph.addNode({
      opType: "Cast",
      inputs: ["s"],
      outputs: ["h"],
      attributes: { to: { int: 10 } },
    });
    const types = elementTypes(graph);
    expect(types.get("c2")).toBe("float32");
    expect(types.get("s")).toBe("int64");
    expect(types.get("h")).toBe("float16");
  });
});

describe("editing", () => {
  it("an unedited model is the message that came in", () => {
    const model = load();
    expect(model.toProto()).toBe(model.toProto());
    expect(Buffer.from(model.encode()).equals(encodeModel(convModel()))).toBe(true);
  });

  it("keeps the bytes of what was not touched", () => {
    const model = load();
    const before = model.toProto();
    model.graph.nodes[0]!.setAttribute("group", { int: 1 });
    const after = model.toProto();
    expect(after.graph!.node[0]).not.toBe(before.graph!.node[0]);
    expect(after.graph!.node[1]).toBe(before.graph!.node[1]);
    expect(after.graph!.initializer).toBe(before.graph!.initializer);
  });

  it("inserts a node into an edge and sorts it into place", () => {
    const { graph } = load();
    graph.addNode({ opType: "Neg", inputs: ["r1"], outputs: ["n"], name: "neg" });
    const [, , second] = graph.nodes;
    graph.setInput(second!, 0, "n");
    expect(names(graph)).toEqual(["first", "relu", "neg", "second", "sum"]);
    expect(
      graph
        .consumersOf("r1")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["neg", "sum"]);
    expect(graph.toProto().node.map(({ name }) => name)).toEqual(names(graph));
  });

  it("takes a node out and lets its readers read on", () => {
    const { graph } = load();
    const relu = graph.producerOf("r1")!;
    graph.removeNode(relu);
    graph.replaceUses("r1", "c1");
    expect(graph.producerOf("r1")).toBeUndefined();
    expect(graph.consumersOf("r1")).toEqual([]);
    expect(names(graph)).toEqual(["first", "second", "sum"]);
    expect(graph.consumersOf("c1")).toHaveLength(2);
  });

  it("a clone is edited without touching the original", () => {
    const model = load();
    const clone = model.clone();
    clone.graph.removeNode(clone.graph.producerOf("y")!);
    clone.setOpset("", 14);
    expect(model.graph.producerOf("y")).toBeDefined();
    expect(model.opset).toBe(13);
    expect(clone.opset).toBe(14);
  });

  it("makes names that nothing has", () => {
    const { graph } = load();
    expect(graph.uniqueName("fresh")).toBe("fresh");
    expect(graph.uniqueName("fresh")).toBe("fresh_0");
    expect(graph.uniqueName("w1")).toBe("w1_0");
    expect(graph.uniqueName("w1")).toBe("w1_1");
  });

  it("stays fast on a long chain", () => {
    const { graph } = load();
    let last = "y";
    for (let index = 0; index < 20_000; index++) {
      const next = graph.uniqueName("chain");
      graph.addNode({ opType: "Relu", inputs: [last], outputs: [next] });
      last = next;
    }
    for (const node of graph.nodes.slice(4, -1)) {
      graph.replaceUses(node.output(0), node.input(0));
      graph.removeNode(node);
    }
    expect(graph.nodes).toHaveLength(5);
    expect(graph.producerOf(last)!.input(0)).toBe("y");
  });
});

describe("subgraphs", () => {
  it("count as readers of what they capture", () => {
    const { graph } = branchingModel();
    expect(graph.consumersOf("r").map(({ opType }) => opType)).toEqual(["If"]);
    expect(graph.consumersOf("k")).toEqual([]);
    expect(graph.uniqueName("then_y")).toBe("then_y_0");
  });

  it("follow when a captured value is replaced", () => {
    const { graph } = branchingModel();
    graph.addNode({ opType: "Neg", inputs: ["x"], outputs: ["other"] });
    graph.replaceUses("r", "other");
    expect(graph.consumersOf("r")).toEqual([]);
    const branch = graph.producerOf("y")!.attribute("then_branch")!.g!;
    expect(branch.node[0]!.input).toEqual(["other", "k"]);
  });
});

describe("printing", () => {
  it("shows values, constants, attributes and branches", () => {
    const model = branchingModel();
    model.graph.setInitializer(intTensor("axes", [0, -1]));
    const text = printModel(model.toProto());
    expect(text).toContain("axes: int64[2] = 0 -1");
    expect(text).toContain("r = Relu(x)");
    expect(text).toContain("then_y = Add(r, k)");
    expect(text).toContain("x: float32[2]");
  });
});
