/** int8 recurrent nets: every direction, optional input and layout against the float operator. */
import { describe, expect, it } from "vitest";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import {
  type AttributeInputs,
  makeGraph,
  makeModel,
  makeValueInfo,
} from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, makeTensor, tensorShape } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { floats, optimizedBytes, runOnce, signalToNoise } from "./run-model.ts";
import { node } from "./sample-nets.ts";

const gates = { LSTM: 4, GRU: 3, RNN: 1 } as const;
const [steps, batch, width, hidden] = [7, 2, 24, 20];

interface Case {
  readonly op: keyof typeof gates;
  readonly attributes?: AttributeInputs;
  readonly directions?: 1 | 2;
  /** Sequence lengths, initial states and, for LSTM, peepholes. */
  readonly isFull?: boolean;
  readonly isBatchFirst?: boolean;
}

function recurrentModel({
  op,
  attributes = {},
  directions = 1,
  isFull,
  isBatchFirst,
}: Case): Model {
  const rows = gates[op] * hidden;
  const weight = (name: string, shape: number[], seed: number) => {
    const count = shape.reduce((product, dim) => product * dim, 1);
    return floatTensor(name, shape, randomValues(seed, count, 0.2));
  };
  const state = isBatchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  const lengths = makeTensor({
    name: "lengths",
    type: "int32",
    shape: [batch],
    data: Int32Array.of(steps, 4),
  });
  const extras = op === "LSTM" ? ["lengths", "h0", "c0", "p"] : ["lengths", "h0"];
  const outputs = op === "LSTM" ? ["y", "yh", "yc"] : ["y", "yh"];
  const input = isBatchFirst ? [batch, steps, width] : [steps, batch, width];
  return Model.fromProto(
    makeModel({
      opset: 14,
      graph: makeGraph({
        nodes: [
          node(op, ["x", "w", "r", "b", ...(isFull ? extras : [])], outputs, {
            hidden_size: { int: hidden },
            ...(directions === 2 ? { direction: { string: "bidirectional" } } : {}),
            ...(isBatchFirst ? { layout: { int: 1 } } : {}),
            ...attributes,
          }),
        ],
        inputs: [makeValueInfo("x", "float32", input)],
        outputs: outputs.map((name) => makeValueInfo(name, "float32")),
        initializers: [
          weight("w", [directions, rows, width], 1),
          weight("r", [directions, rows, hidden], 2),
          weight("b", [directions, 2 * rows], 3),
          ...(isFull ? [lengths, weight("h0", state, 4)] : []),
          ...(isFull && op === "LSTM"
            ? [weight("c0", state, 5), weight("p", [directions, 3 * hidden], 6)]
            : []),
        ],
      }),
    }),
  );
}

const feedsFor = ({ isBatchFirst }: Case) => {
  const shape = isBatchFirst ? [batch, steps, width] : [steps, batch, width];
  return new Map([["x", floats(randomValues(9, steps * batch * width), shape)]]);
};

async function quantized(model: Model, options: Record<string, unknown> = {}): Promise<Model> {
  const passes = [findPass("quantize-recurrent")!.bind(options)];
  return (await runPasses({ model, passes })).model;
}

/** The worst output's signal-to-noise ratio. */
async function worst(before: Model, after: Model, feeds: ReturnType<typeof feedsFor>) {
  const [old, now] = [await runOnce(before.encode(), feeds), await runOnce(after.encode(), feeds)];
  const ratios = [...old].map(([name, { data }]) =>
    signalToNoise(data as Float32Array, now.get(name)!.data as Float32Array),
  );
  return Math.min(...ratios);
}

const variations: readonly (readonly [string, Omit<Case, "op">])[] = [
  ["forward", {}],
  ["reverse", { attributes: { direction: { string: "reverse" } } }],
  ["bidirectional", { directions: 2 }],
  ["bidirectional with lengths and states", { directions: 2, isFull: true }],
  ["clipped", { attributes: { clip: { float: 0.5 } } }],
];

describe.each(variations)("%s", (_name, variation) => {
  it.each([
    [true, 33],
    [false, 32],
  ])("LSTM multiplies integers, a scale per channel: %s", async (perChannel, decibelMin) => {
    const model = recurrentModel({ op: "LSTM", ...variation });
    const result = await quantized(model, { perChannel });
    const ratio = await worst(model, result, feedsFor({ op: "LSTM" }));
    expect(ratio).toBeGreaterThan(decibelMin);
    // An equal output would mean that nothing was quantized.
    expect(ratio).toBeLessThan(70);
    const { operators } = auditFusion(await optimizedBytes(result.encode()));
    expect(operators).toEqual({ DynamicQuantizeLSTM: 1 });
  });

  it.each(["LSTM", "GRU", "RNN"] as const)("%s is stored in int8 in either form", async (op) => {
    const model = recurrentModel({ op, ...variation });
    const feeds = feedsFor({ op });
    const cast = await quantized(model, { lstm: "stored" });
    const dequantized = await quantized(model, { lstm: "stored", form: "dequantize-linear" });
    const ratio = await worst(model, cast, feeds);
    expect(ratio).toBeGreaterThan(36);
    expect(ratio).toBeLessThan(80);
    expect(await worst(cast, dequantized, feeds)).toBeGreaterThan(110);
    const { operators } = auditFusion(await optimizedBytes(cast.encode()));
    expect(operators).toEqual({ [op]: 1 });
  });
});

it.each([
  [true, "2,80"],
  [false, "2"],
])(
  "a dynamic LSTM whose scales are per channel: %s, which is shape %s",
  async (perChannel, shape) => {
    const { graph } = await quantized(recurrentModel({ op: "LSTM", directions: 2 }), {
      perChannel,
    });
    const [lstm] = graph.nodes;
    // Scales and zero points of W and R.
    const shapes = lstm!.inputs.slice(8).map((name) => tensorShape(graph.constant(name)!).join());
    expect(shapes).toEqual([shape, shape, shape, shape]);
  },
);

it("a GRU that resets before the product keeps its meaning", async () => {
  const attributes = { linear_before_reset: { int: 1 } };
  const model = recurrentModel({ op: "GRU", directions: 2, attributes });
  expect(await worst(model, await quantized(model), feedsFor({ op: "GRU" }))).toBeGreaterThan(36);
});

it("an LSTM that forgets what it does not take in keeps its meaning", async () => {
  const model = recurrentModel({ op: "LSTM", attributes: { input_forget: { int: 1 } } });
  expect(await worst(model, await quantized(model), feedsFor({ op: "LSTM" }))).toBeGreaterThan(33);
});

it("an LSTM with the batch first is stored, since the integer kernel knows no layout", async () => {
  const model = recurrentModel({ op: "LSTM", isBatchFirst: true });
  const result = await quantized(model);
  const opTypes = result.graph.nodes.map(({ opType }) => opType);
  expect(opTypes).toContain("LSTM");
  expect(opTypes).not.toContain("DynamicQuantizeLSTM");
});

it("a GRU of 40 inputs and 64 hidden values takes a third of its bytes", async () => {
  const model = Model.fromProto(
    makeModel({
      opset: 14,
      graph: makeGraph({
        nodes: [node("GRU", ["x", "w", "r", "b"], ["", "y"], { hidden_size: { int: 64 } })],
        inputs: [makeValueInfo("x", "float32", [5, 1, 40])],
        outputs: [makeValueInfo("y", "float32")],
        initializers: [
          floatTensor("w", [1, 192, 40], randomValues(1, 192 * 40, 0.2)),
          floatTensor("r", [1, 192, 64], randomValues(2, 192 * 64, 0.2)),
          floatTensor("b", [1, 384], randomValues(3, 384, 0.2)),
        ],
      }),
    }),
  );
  const result = await quantized(model);
  expect(result.encode().length).toBeLessThan(model.encode().length / 3);
});

it("weights that would not shrink stay float, with a reason", () => {
  const tiny = Model.fromProto(
    makeModel({
      opset: 14,
      graph: makeGraph({
        nodes: [node("RNN", ["x", "w", "r"], ["y"], { hidden_size: { int: 2 } })],
        inputs: [makeValueInfo("x", "float32", [5, 1, 3])],
        outputs: [makeValueInfo("y", "float32")],
        initializers: [
          floatTensor("w", [1, 2, 3], randomValues(1, 6)),
          floatTensor("r", [1, 2, 2], randomValues(2, 4)),
        ],
      }),
    }),
  );
  const reason = findPass("quantize-recurrent")!.bind(undefined).notApplicable(tiny);
  expect(reason).toBe("y_node: its 40 bytes of weights would not get fewer");
});
