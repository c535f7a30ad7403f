/** The training graph, the optimizer and the loop: what they compute, refuse and repeat. */
import { describe, expect, it } from "vitest";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../../controller/onnx/build.ts";
import { decodeModel, encodeModel } from "../../../controller/onnx/proto.ts";
import type { ModelProto } from "../../../controller/onnx/schema.ts";
import { floatTensor, tensorFloats } from "../../../controller/onnx/tensor.ts";
import { createAdam } from "../../../controller/train/adam.ts";
import { crossEntropy } from "../../../controller/train/losses/cross-entropy.ts";
import type { FloatTensor } from "../../../controller/train/trainer.ts";
import { buildTrainingGraph, withWeights } from "../../../controller/train/training-graph.ts";
import { openRunner } from "../../../scripts/models/ort-runner.ts";
import { findShapes, openTraining } from "../../../scripts/models/training-session.ts";
import { isFleetError } from "../../../shared/errors.ts";
import { seededRandom } from "../../../shared/prng.ts";

const batch = 16;
const inputs = [{ name: "x", shape: [batch, 2, 4, 4] }];

function values(seed: number, count: number, scale = 1): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => (2 * random.nextFloat() - 1) * scale);
}

/** Conv, BN, Relu, pool, Gemm: x [N, 2, 4, 4] → logits [N, 3]. */
function smallNet(options: { opset?: number; activation?: string } = {}): ModelProto {
  const graph = makeGraph({
    nodes: [
      makeNode({
        opType: "Conv",
        inputs: ["x", "w"],
        outputs: ["c"],
        attributes: { pads: { ints: [1, 1, 1, 1] } },
      }),
      makeNode({
        opType: "BatchNormalization",
        inputs: ["c", "scale", "bias", "mean", "var"],
        outputs: ["n"],
        attributes: { momentum: { float: 0.75 } },
      }),
      makeNode({ opType: options.activation ?? "Relu", inputs: ["n"], outputs: ["r"] }),
      makeNode({ opType: "GlobalAveragePool", inputs: ["r"], outputs: ["g"] }),
      makeNode({ opType: "Flatten", inputs: ["g"], outputs: ["f"] }),
      makeNode({ opType: "Gemm", inputs: ["f", "v", "b"], outputs: ["y"] }),
    ],
    inputs: [makeValueInfo("x", "float32", ["N", 2, 4, 4])],
    outputs: [makeValueInfo("y", "float32", ["N", 3])],
    initializers: [
      floatTensor("w", [5, 2, 3, 3], values(1, 90, 0.4)),
      floatTensor("scale", [5], [1, 1, 1, 1, 1]),
      floatTensor("bias", [5], [0, 0, 0, 0, 0]),
      floatTensor("mean", [5], [0, 0, 0, 0, 0]),
      floatTensor("var", [5], [1, 1, 1, 1, 1]),
      floatTensor("v", [5, 3], values(2, 15, 0.7)),
      floatTensor("b", [3], [0, 0, 0]),
    ],
  });
  return makeModel({ graph, opset: options.opset ?? 13 });
}

/** The class is decided by the mean of the first channel, so it can be learnt. */
function feedsOf(seed: number): Map<string, FloatTensor> {
  const x = Float32Array.from(values(seed, batch * 32));
  const target = new Float32Array(batch * 3);
  for (let sample = 0; sample < batch; sample++) {
    const mean = x.subarray(sample * 32, sample * 32 + 16).reduce((sum, value) => sum + value) / 16;
    target[sample * 3 + (mean < -0.05 ? 0 : mean < 0.05 ? 1 : 2)] = 1;
  }
  return new Map([
    ["x", { data: x, shape: [batch, 2, 4, 4] }],
    ["target", { data: target, shape: [batch, 3] }],
  ]);
}

async function train(steps: number): Promise<{ losses: number[]; bytes: Uint8Array }> {
  const session = await openTraining({ modelBytes: encodeModel(smallNet()), inputs });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    losses.push(await session.trainer.step(feedsOf(step % 20), 0.02));
  }
  const bytes = session.trainedModel();
  await session.close();
  return { losses, bytes };
}

function mean(list: readonly number[]): number {
  return list.reduce((sum, value) => sum + value, 0) / list.length;
}

async function refusal(action: () => unknown): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return isFleetError(error) ? error.code : error;
  }
  return "nothing";
}

describe("training", () => {
  it("learns a rule that can be learnt", async () => {
    const { losses } = await train(200);
    expect(mean(losses.slice(-20))).toBeLessThan(0.6 * mean(losses.slice(0, 20)));
  });

  it("gives the same bytes from the same seed and data", async () => {
    const first = await train(10);
    const second = await train(10);
    expect(Buffer.compare(first.bytes, second.bytes)).toBe(0);
    expect((await train(11)).bytes).not.toEqual(first.bytes);
  });

  it("leaves nodes, names and shapes of the model as they were", async () => {
    const before = smallNet().graph!;
    const after = decodeModel((await train(2)).bytes).graph!;
    expect(after.node.map(({ opType }) => opType)).toEqual(before.node.map(({ opType }) => opType));
    expect(after.initializer.map(({ name, dims }) => [name, dims])).toEqual(
      before.initializer.map(({ name, dims }) => [name, dims]),
    );
  });

  it("says so when the loss is not finite, and keeps the weights", async () => {
    const session = await openTraining({ modelBytes: encodeModel(smallNet()), inputs });
    const before = session.trainedModel();
    const feeds = feedsOf(1);
    feeds.get("x")!.data[3] = Number.NaN;
    expect(await refusal(() => session.trainer.step(feeds, 0.01))).toBe("training-diverged");
    expect(session.trainedModel()).toEqual(before);
    await session.close();
  });
});

describe("buildTrainingGraph", () => {
  it("moves running statistics towards those of the batch", async () => {
    const model = smallNet();
    const feeds = feedsOf(4);
    const probe = await openRunner(
      encodeModel({
        ...model,
        graph: { ...model.graph!, output: [makeValueInfo("c", "float32")] },
      }),
    );
    const conv = (await probe.runAll(new Map([["x", feeds.get("x")!]]))).get("c")!.data;
    await probe.close();
    const session = await openTraining({ modelBytes: encodeModel(model), inputs });
    await session.trainer.step(feeds, 0);
    const weights = session.trainer.weights();
    await session.close();
    for (let channel = 0; channel < 5; channel++) {
      const list: number[] = [];
      for (let sample = 0; sample < batch; sample++) {
        const start = (sample * 5 + channel) * 16;
        list.push(...conv.subarray(start, start + 16));
      }
      const center = mean(list);
      const variance = mean(list.map((value) => (value - center) ** 2));
      // momentum 0.75 from mean 0 and variance 1
      expect(weights.get("mean")![channel]).toBeCloseTo(0.25 * center, 5);
      expect(weights.get("var")![channel]).toBeCloseTo(0.75 + 0.25 * variance, 5);
    }
  });

  it("trains only what it is asked to and then leaves frozen normalisation as it is", async () => {
    const model = smallNet();
    const shapes = await findShapes(model, inputs);
    const head = buildTrainingGraph({
      model,
      shapes,
      loss: crossEntropy,
      isTrainable: (name) => name === "v" || name === "b",
    });
    expect(head.parameters.map(({ name }) => name)).toEqual(["v", "b"]);
    expect(head.states).toEqual([]);
    expect(head.model.graph!.node.some(({ opType }) => opType === "BatchNormalization")).toBe(true);
  });

  it("refuses what it cannot train, with a code", async () => {
    const build = async (model: ModelProto, isTrainable?: (name: string) => boolean) => {
      const shapes = await findShapes(model, inputs);
      const chosen = isTrainable === undefined ? {} : { isTrainable };
      return buildTrainingGraph({ model, shapes, loss: crossEntropy, ...chosen });
    };
    const cases = [
      () => build(smallNet({ opset: 12 })),
      () => build(smallNet({ activation: "Erf" })),
      () => build(smallNet(), () => false),
    ];
    for (const refused of cases) expect(await refusal(refused)).toBe("onnx-unsupported");
    // Behind the operator without a rule there is nothing that would need it.
    const head = await build(smallNet({ activation: "Erf" }), (name) => name === "v");
    expect(head.parameters.map(({ name }) => name)).toEqual(["v"]);
  });

  it("does not change the model that it was given", async () => {
    const model = smallNet();
    const before = encodeModel(model);
    const changed = withWeights(model, new Map([["b", Float32Array.of(1, 2, 3)]]));
    expect(encodeModel(model)).toEqual(before);
    const tensor = changed.graph!.initializer.find(({ name }) => name === "b")!;
    expect([...tensorFloats(tensor)]).toEqual([1, 2, 3]);
  });
});

describe("crossEntropy", () => {
  it("equals the definition", async () => {
    const model = smallNet();
    const shapes = await findShapes(model, inputs);
    const graph = buildTrainingGraph({
      model,
      shapes,
      loss: crossEntropy,
      isTrainable: (n) => n === "b",
    });
    const runner = await openRunner(encodeModel(graph.model));
    const feeds = feedsOf(3);
    feeds.set("b", { data: Float32Array.of(0.3, -0.2, 0.5), shape: [3] });
    const trained = await runner.runAll(feeds);
    await runner.close();
    const plain = await openRunner(
      encodeModel(withWeights(model, new Map([["b", Float32Array.of(0.3, -0.2, 0.5)]]))),
    );
    const logits = (await plain.runAll(new Map([["x", feeds.get("x")!]]))).get("y")!.data;
    await plain.close();
    let loss = 0;
    const gradient = [0, 0, 0];
    for (let sample = 0; sample < batch; sample++) {
      const row = [...logits.subarray(sample * 3, sample * 3 + 3)];
      const target = feeds.get("target")!.data.subarray(sample * 3, sample * 3 + 3);
      const total = row.reduce((sum, value) => sum + Math.exp(value), 0);
      row.forEach((value, index) => {
        const probability = Math.exp(value) / total;
        loss -= (target[index]! * Math.log(probability)) / batch;
        gradient[index]! += (probability - target[index]!) / batch;
      });
    }
    expect(trained.get(graph.loss)!.data[0]).toBeCloseTo(loss, 5);
    const found = trained.get(graph.parameters[0]!.gradient)!.data;
    gradient.forEach((value, index) => {
      expect(found[index]).toBeCloseTo(value, 5);
    });
  });
});

describe("createAdam", () => {
  it("takes the steps of the paper's algorithm", () => {
    const parameters = Float32Array.of(1, -2);
    const adam = createAdam({ count: 2 });
    adam.step(parameters, Float32Array.of(0.5, -3), 0.1);
    // The first bias-corrected step is the learning rate times the gradient's sign.
    expect(parameters[0]).toBeCloseTo(0.9, 6);
    expect(parameters[1]).toBeCloseTo(-1.9, 6);
    adam.step(parameters, Float32Array.of(0.1, -3), 0.1);
    const m = (0.9 * 0.1 * 0.5 + 0.1 * 0.1) / (1 - 0.9 ** 2);
    const v = (0.999 * 0.001 * 0.25 + 0.001 * 0.01) / (1 - 0.999 ** 2);
    expect(parameters[0]).toBeCloseTo(0.9 - (0.1 * m) / Math.sqrt(v), 5);
  });

  it("decays only what the mask names", () => {
    const parameters = Float32Array.of(1, 1);
    const adam = createAdam({ count: 2, weightDecay: 0.5, decayMask: Uint8Array.of(1, 0) });
    adam.step(parameters, new Float32Array(2), 0.1);
    expect(parameters[0]).toBeCloseTo(0.95, 6);
    expect(parameters[1]).toBe(1);
  });
});
