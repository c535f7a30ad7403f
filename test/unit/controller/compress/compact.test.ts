/** The compact writer: what it takes out, what it must leave, and that nothing else changes. */
import { describe, expect, it } from "vitest";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { optimizedBytes, runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";

const compact = () => findPass("compact")!.bind(undefined);

async function compacted(model: Model) {
  const { model: result, journal } = await runPasses({ model, passes: [compact()] });
  return { result, report: journal[0]!.report };
}

const bits = (outputs: ReadonlyMap<string, { data: ArrayBufferView }>): Uint8Array[] =>
  [...outputs.values()].map(
    ({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );

describe("an int8 model", () => {
  const net = sampleNets[0]!;
  const int8 = async (): Promise<Model> => {
    const passes = ["constants-to-initializers", "fold-batch-norm", "quantize-static"].map((name) =>
      findPass(name)!.bind(undefined),
    );
    const workbench = workbenchOf(() => [1, 2, 3].map(net.feeds));
    return (await runPasses({ model: net.model(), passes, workbench })).model;
  };

  it("gives the same bits and the same kernels from fewer bytes", async () => {
    const model = await int8();
    const { result, report } = await compacted(model);
    const [before, after] = [model.encode(), result.encode()];
    expect(after.length).toBeLessThan(0.85 * before.length);
    expect(report).toMatchObject({ bytesBefore: before.length, bytesAfter: after.length });
    expect(bits(await runOnce(after, net.feeds(9)))).toEqual(
      bits(await runOnce(before, net.feeds(9))),
    );
    const kernels = auditFusion(await optimizedBytes(after)).operators;
    expect(kernels).toEqual(auditFusion(await optimizedBytes(before)).operators);
    expect(kernels["QGemm"]).toBe(1);
  });

  it("keeps the weight's zero point of a Gemm, without which it would run as float", async () => {
    const { result } = await compacted(await int8());
    const { graph } = result;
    const gemm = graph.nodes.find((each) => each.opType === "Gemm")!;
    const conv = graph.nodes.find((each) => each.opType === "Conv")!;
    expect(graph.producerOf(gemm.input(1))!.inputs).toHaveLength(3);
    expect(graph.producerOf(gemm.input(2))!.inputs).toHaveLength(2);
    expect(graph.producerOf(conv.input(1))!.inputs).toHaveLength(2);
  });

  it("keeps a short name for each layer, under which the runtime runs it", async () => {
    const { result, report } = await compacted(await int8());
    const layers = report["layers"] as string[];
    expect(layers.map((each) => each.split("=")[1])).toEqual([
      ...["c1_node", "c2_node", "t_node", "y_node"],
    ]);
    const short = layers.map((each) => each.split("=")[0]);
    expect(result.graph.nodes.flatMap(({ name }) => (name === "" ? [] : [name]))).toEqual(short);
    const running = Model.decode(await optimizedBytes(result.encode())).graph.nodes;
    // A node that the runtime moved to channels last has a suffix.
    const named = (opType: string) =>
      running
        .filter((each) => each.opType === opType)
        .map(({ name }) => name.replace(/_token_\d+$/, ""));
    expect(named("QLinearConv")).toEqual(short.slice(0, 2));
    expect(named("QGemm")).toEqual(short.slice(3));
  });
});

describe("names", () => {
  it("avoid those of graph inputs, graph outputs and subgraphs, and reach into subgraphs", async () => {
    const branch = (factor: string, output: string) => ({
      graph: makeGraph({
        name: output,
        inputs: [],
        outputs: [makeValueInfo(output, "float32", [2, 2])],
        nodes: [makeNode({ opType: "Mul", inputs: ["hidden_layer", factor], outputs: [output] })],
      }),
    });
    const model = buildModel({
      opset: 13,
      inputShape: [2, 2],
      nodes: [
        node("Add", ["x", "shift_by"], ["hidden_layer"]),
        node("ReduceMax", ["hidden_layer"], ["largest"], { keepdims: { int: 0 } }),
        node("Greater", ["largest", "limit"], ["is_large"]),
        node("If", ["is_large"], ["chosen"], {
          then_branch: branch("twice", "a"),
          else_branch: branch("half", "b"),
        }),
        node("Add", ["chosen", "hidden_layer"], ["y"]),
      ],
      initializers: [
        floatTensor("shift_by", [2], [0.5, -0.5]),
        floatTensor("limit", [], [0.2]),
        floatTensor("twice", [], [2]),
        floatTensor("half", [], [0.5]),
      ],
    });
    const { result } = await compacted(model);
    const feeds = feedsOf([2, 2]);
    for (const seed of [1, 2, 3]) {
      expect(bits(await runOnce(result.encode(), feeds(seed)))).toEqual(
        bits(await runOnce(model.encode(), feeds(seed))),
      );
    }
    const outer = result.graph.nodes.flatMap(({ outputs }) => outputs);
    expect(outer).not.toContain("a");
    expect(outer).not.toContain("b");
    expect(result.graph.outputNames).toEqual(["y"]);
    expect(Math.max(...outer.map((name) => name.length))).toBe(1);
  });
});

it("the most used value gets the shortest name, beyond the letters too", async () => {
  const count = 70;
  const steps = Array.from({ length: count }, (_, at) => [
    node("Neg", [`v${at}`], [`negative${at}`]),
    node("Add", [`negative${at}`, "used_everywhere"], [`v${at + 1}`]),
  ]);
  const model = buildModel({
    opset: 13,
    inputShape: [2],
    nodes: [node("Relu", ["x"], ["v0"]), ...steps.flat(), node("Abs", [`v${count}`], ["y"])],
    initializers: [floatTensor("used_everywhere", [], [0.5])],
  });
  const { result } = await compacted(model);
  expect([...result.graph.initializers.keys()][0]).toHaveLength(1);
  expect(result.graph.nodes.some((each) => each.output(0).length === 2)).toBe(true);
});

describe("small parts", () => {
  const model = () => {
    const built = buildModel({
      opset: 13,
      inputShape: [1, 2, 4, 4],
      nodes: [
        node("Conv", ["x", "w"], ["c"], {
          kernel_shape: { ints: [3, 3] },
          dilations: { ints: [1, 1] },
          group: { int: 1 },
          pads: { ints: [1, 1, 1, 1] },
          strides: { ints: [2, 2] },
        }),
        node("LeakyRelu", ["c"], ["l"], { alpha: { float: 0.01 } }),
        node("Mul", ["l", "k1"], ["m"]),
        node("Add", ["m", "k2"], ["s"]),
        node("Reshape", ["s", "shape"], ["y"]),
      ],
      initializers: [
        floatTensor("w", [3, 2, 3, 3], new Float32Array(54).fill(0.5)),
        floatTensor("k1", [], [0.25]),
        floatTensor("k2", [], [0.25]),
        floatTensor("k3", [], [0.25]),
        intTensor("shape", [3, 4]),
      ],
    });
    built.setOpset("com.microsoft", 1);
    built.graph.setInfo("c", makeValueInfo("c", "float32", [1, 3, 2, 2]));
    return built;
  };

  it("equal constants become one and unread ones go", async () => {
    const { result, report } = await compacted(model());
    expect(report).toMatchObject({ mergedInitializers: 1, droppedInitializers: 1 });
    expect(result.graph.initializers.size).toBe(3);
  });

  it("text and types without an array are written as they were", async () => {
    const built = model();
    const text = { dims: [1n], dataType: 8, stringData: [new TextEncoder().encode("label")] };
    const scale = { dims: [], dataType: 17, stringData: [], rawData: Uint8Array.of(0) };
    const rest = { externalData: [], metadataProps: [] };
    built.graph.setInitializer({ ...text, ...rest, name: "text" });
    built.graph.setInitializer({ ...scale, ...rest, name: "tiny" });
    built.graph.addNode({ opType: "Identity", inputs: ["text"], outputs: ["label"] });
    built.graph.addNode({ opType: "Identity", inputs: ["tiny"], outputs: ["float8"] });
    const { result } = await compacted(built);
    const tensors = [...result.graph.initializers.values()];
    expect(tensors.flatMap(({ stringData }) => stringData)).toEqual(text.stringData);
    expect(tensors.find(({ dataType }) => dataType === 17)!.rawData).toEqual(scale.rawData);
  });

  it("attributes at their default go, others stay", async () => {
    const { result } = await compacted(model());
    const [conv, leaky] = result.graph.nodes;
    expect(conv!.proto.attribute.map(({ name }) => name)).toEqual(["pads", "strides"]);
    expect(leaky!.proto.attribute).toEqual([]);
  });

  it("operator sets and descriptions that nobody needs go", async () => {
    const { result } = await compacted(model());
    expect(result.domains).toEqual([""]);
    expect(result.graph.infoOf("c")).toBeUndefined();
    expect(result.toProto().producerName).toBeUndefined();
  });

  it("small integers are stored as varints, large ones raw", async () => {
    const { result } = await compacted(model());
    const shape = result.graph.constant(result.graph.nodes.at(-1)!.input(1))!;
    expect(shape.int64Data).toEqual(BigInt64Array.of(3n, 4n));
    const large = Model.fromProto(model().toProto());
    large.graph.setInitializer(
      makeTensor({
        name: "shape",
        type: "int64",
        shape: [2],
        data: BigInt64Array.of(-1n, -1n),
      }),
    );
    const raw = (await compacted(large)).result;
    expect(raw.graph.constant(raw.graph.nodes.at(-1)!.input(1))!.rawData).toHaveLength(16);
  });
});
