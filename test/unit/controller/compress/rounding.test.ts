/** Rounding that looks at the layer's output: the algebra, the matrices it rests on, what it brings. */
import { afterEach, describe, expect, it } from "vitest";
import type { Workbench } from "../../../../controller/compress/execute.ts";
import { learnRounding, nearestCodes } from "../../../../controller/compress/quantize/adaround.ts";
import {
  type FeedbackRequest,
  roundWithFeedback,
  rowLoss,
} from "../../../../controller/compress/quantize/error-feedback.ts";
import { openGrams } from "../../../../controller/compress/quantize/gram.ts";
import {
  damped,
  permuted,
  product,
  upperCholesky,
} from "../../../../controller/compress/quantize/linear-algebra.ts";
import {
  type MatrixProducts,
  openProducts,
} from "../../../../controller/compress/quantize/matrix-products.ts";
import { mseScale } from "../../../../controller/compress/quantize/weight-scale/mse.ts";
import type { AttributeInputs } from "../../../../controller/onnx/build.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const codes = { min: -7, max: 7 };

/** Mean of x · x^T of inputs as ReLU makes them: six causes, some noise, nothing below 0. */
function sampleGram(length: number, seed: number, positions = 4 * length): Float64Array {
  const causes = 6;
  const noise = randomValues(seed, positions * length, 0.3);
  const strengths = randomValues(seed + 1, positions * causes);
  const mixing = randomValues(seed + 2, causes * length);
  const gram = new Float64Array(length * length);
  for (let position = 0; position < positions; position++) {
    const x = noise.subarray(position * length, (position + 1) * length).map((value, at) => {
      let sum = value;
      for (let cause = 0; cause < causes; cause++) {
        sum += strengths[position * causes + cause]! * mixing[cause * length + at]!;
      }
      return Math.max(sum, 0);
    });
    for (let row = 0; row < length; row++) {
      for (let column = 0; column < length; column++) {
        gram[row * length + column]! += (x[row]! * x[column]!) / positions;
      }
    }
  }
  return gram;
}

function sampleRequest(channels: number, length: number, groups = 1): FeedbackRequest {
  const values = randomValues(3, channels * length);
  const scales = Float32Array.from({ length: channels }, (_, row) => {
    const magnitudes = values.subarray(row * length, (row + 1) * length).map(Math.abs);
    return Math.max(...magnitudes) / 7;
  });
  const gram = Array.from({ length: groups }, (_, group) => sampleGram(length, 10 + group));
  return { rows: { values, channels, length }, scales, codes, gram };
}

const noSweeps = { damping: 0.01, order: "stored", sweepsMax: 0 } as const;

describe("algebra", () => {
  it("factors a matrix from the last row upwards", () => {
    const size = 13;
    const gram = sampleGram(size, 1);
    const { matrix, added } = damped(gram, size, 0.01);
    const factor = upperCholesky(Float64Array.from(matrix), size, added);
    for (let row = 0; row < size; row++) {
      for (let column = row; column < size; column++) {
        let sum = 0;
        for (let at = column; at < size; at++) {
          sum += factor[row * size + at]! * factor[column * size + at]!;
        }
        expect(sum).toBeCloseTo(matrix[row * size + column]!, 10);
      }
    }
  });

  it("survives a matrix of low rank, and one of zeros", () => {
    const flat = sampleGram(8, 1, 2);
    const { matrix, added } = damped(flat, 8, 0.01);
    expect(upperCholesky(matrix, 8, added).every(Number.isFinite)).toBe(true);
    expect([...damped(new Float64Array(4), 2, 0.01).matrix]).toEqual([1, 0, 0, 1]);
  });

  it("reorders and multiplies", () => {
    const matrix = Float64Array.of(1, 2, 3, 4);
    expect([...permuted(matrix, Uint32Array.of(1, 0))]).toEqual([4, 3, 2, 1]);
    expect([...product(matrix, Float64Array.of(1, 10))]).toEqual([21, 43]);
  });
});

/** GPTQ as it is published: the inverse, its Cholesky factor, and every later weight moved at once. */
function gptq({ rows, scales, gram }: FeedbackRequest, share: number): Int16Array {
  const { values, channels, length } = rows;
  const { matrix } = damped(gram[0]!, length, share);
  const inverse = invert(matrix, length);
  // Lower L with inverse = L · L^T; its transpose is GPTQ's U.
  const lower = new Float64Array(length * length);
  for (let row = 0; row < length; row++) {
    for (let column = 0; column <= row; column++) {
      let rest = inverse[row * length + column]!;
      for (let at = 0; at < column; at++) {
        rest -= lower[row * length + at]! * lower[column * length + at]!;
      }
      lower[row * length + column] =
        row === column ? Math.sqrt(rest) : rest / lower[column * length + column]!;
    }
  }
  const result = new Int16Array(values.length);
  for (let channel = 0; channel < channels; channel++) {
    const w = Float64Array.from(values.subarray(channel * length, (channel + 1) * length));
    for (let at = 0; at < length; at++) {
      const code = Math.min(Math.max(Math.round(w[at]! / scales[channel]!), -7), 7);
      result[channel * length + at] = code;
      const error = (w[at]! - code * scales[channel]!) / lower[at * length + at]!;
      for (let later = at + 1; later < length; later++) {
        w[later]! -= error * lower[later * length + at]!;
      }
    }
  }
  return result;
}

/** Gauss and Jordan; the matrix is well conditioned. */
function invert(matrix: Float64Array, size: number): Float64Array {
  const left = Float64Array.from(matrix);
  const right = new Float64Array(size * size);
  for (let at = 0; at < size; at++) right[at * size + at] = 1;
  for (let pivot = 0; pivot < size; pivot++) {
    const head = left[pivot * size + pivot]!;
    for (let column = 0; column < size; column++) {
      left[pivot * size + column]! /= head;
      right[pivot * size + column]! /= head;
    }
    for (let row = 0; row < size; row++) {
      const factor = left[row * size + pivot]!;
      if (row === pivot || factor === 0) continue;
      for (let column = 0; column < size; column++) {
        left[row * size + column]! -= factor * left[pivot * size + column]!;
        right[row * size + column]! -= factor * right[pivot * size + column]!;
      }
    }
  }
  return right;
}

function totalLoss(request: FeedbackRequest, rounded: Int16Array, share = 0): number {
  const { rows, gram } = request;
  const perGroup = rows.channels / gram.length;
  let loss = 0;
  for (let row = 0; row < rows.channels; row++) {
    const { matrix } = damped(gram[Math.floor(row / perGroup)]!, rows.length, share);
    loss += rowLoss(request, matrix, row, rounded);
  }
  return loss;
}

describe("error feedback", () => {
  it("gives the codes of GPTQ", () => {
    const request = sampleRequest(6, 24);
    expect([...roundWithFeedback(request, noSweeps)]).toEqual([...gptq(request, 0.01)]);
  });

  it("gives the codes of GPTQ in the order of the strongest inputs", () => {
    const request = sampleRequest(4, 16);
    const { values, length } = request.rows;
    const gram = request.gram[0]!;
    const order = Uint32Array.from({ length }, (_, at) => at).sort(
      (one, other) => gram[other * length + other]! - gram[one * length + one]!,
    );
    const turned = values.map((_, index) => {
      return values[Math.floor(index / length) * length + order[index % length]!]!;
    });
    const expected = gptq(
      { ...request, rows: { ...request.rows, values: turned }, gram: [permuted(gram, order)] },
      0.01,
    );
    const actual = roundWithFeedback(request, { ...noSweeps, order: "activation" });
    const reordered = actual.map(
      (_, index) => actual[Math.floor(index / length) * length + order[index % length]!]!,
    );
    expect([...reordered]).toEqual([...expected]);
  });

  it("loses far less of the output than rounding to nearest, and sweeps lose less still", () => {
    const request = sampleRequest(8, 32, 2);
    const nearest = totalLoss(request, nearestCodes(request));
    const fed = totalLoss(request, roundWithFeedback(request, noSweeps));
    const swept = totalLoss(request, roundWithFeedback(request, { ...noSweeps, sweepsMax: 20 }));
    expect(fed).toBeLessThan(nearest * 0.5);
    expect(swept).toBeLessThan(fed * 0.95);
  });

  it("leaves weights that are on their grid where they are", () => {
    const values = Float32Array.from({ length: 24 }, (_, at) => ((at % 15) - 7) * 0.25);
    const request = {
      rows: { values, channels: 2, length: 12 },
      scales: Float32Array.of(0.25),
      codes,
      gram: [sampleGram(12, 1)],
    };
    expect([...roundWithFeedback(request)]).toEqual([...values].map((value) => value * 4));
  });

  it("keeps to the codes, and to nearest where inputs say nothing", () => {
    const request = { ...sampleRequest(3, 16), scales: Float32Array.of(0.05) };
    const rounded = roundWithFeedback(request);
    expect(Math.max(...rounded.map(Math.abs))).toBe(7);
    const silent = { ...sampleRequest(3, 16), gram: [new Float64Array(256)] };
    expect([...roundWithFeedback(silent)]).toEqual([...nearestCodes(silent)]);
  });

  it("rounds blocks with scales and zero points of their own", () => {
    const length = 20;
    const blockLength = 8;
    const values = randomValues(5, 2 * length).map((value) => value + 1);
    const cells = Array.from({ length: 2 * 3 }, (_, cell) => {
      const row = Math.floor(cell / 3);
      const start = row * length + (cell % 3) * blockLength;
      const end = Math.min(start + blockLength, (row + 1) * length);
      const block = values.subarray(start, end);
      const low = Math.min(0, ...block);
      const scale = Math.fround((Math.max(0, ...block) - low) / 15);
      return { scale, zeroPoint: Math.round(-low / scale) };
    });
    const request = {
      rows: { values, channels: 2, length },
      scales: Float32Array.from(cells, ({ scale }) => scale),
      zeroPoints: cells.map(({ zeroPoint }) => zeroPoint),
      blockLength,
      codes: { min: 0, max: 15 },
      gram: [sampleGram(length, 2)],
    };
    const nearest = nearestCodes(request);
    nearest.forEach((code, index) => {
      const { scale, zeroPoint } =
        cells[Math.floor(index / length) * 3 + Math.floor((index % length) / blockLength)]!;
      expect(Math.abs((code - zeroPoint) * scale - values[index]!)).toBeLessThan(scale * 0.51);
    });
    const fed = roundWithFeedback(request);
    expect(Math.min(...fed)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...fed)).toBeLessThanOrEqual(15);
    expect(totalLoss(request, fed)).toBeLessThan(totalLoss(request, nearest) * 0.6);
  });
});

describe("mse scales", () => {
  const input = { scale: 1, zeroPoint: 0 };
  const scalesOf = (request: FeedbackRequest, perChannel: boolean, gram?: Float64Array[]) =>
    mseScale.parse({ strategy: "mse" }).scales({
      rows: request.rows,
      perChannel,
      symmetric: true,
      codes,
      input,
      inputCodes: { min: 0, max: 255 },
      pairing: undefined,
      gram,
    });

  it("cut an outlier, and only in its row", () => {
    const length = 1024;
    const values = randomValues(3, 2 * length);
    values[5] = 10;
    const request = { ...sampleRequest(2, 4), rows: { values, channels: 2, length } };
    const [cut, plain] = scalesOf(request, true);
    expect(cut!).toBeLessThan((10 / 7) * 0.7);
    const largest = Math.max(...values.subarray(length).map(Math.abs));
    expect(plain!).toBeGreaterThan((largest / 7) * 0.7);
    expect(scalesOf(request, false)).toHaveLength(1);
  });

  it("cut or keep an outlier by how much its input counts", () => {
    const request = sampleRequest(1, 64);
    const largest = 3 * Math.max(...request.rows.values.map(Math.abs));
    request.rows.values[5] = largest;
    const scaleFor = (energy: number): number => {
      const gram = new Float64Array(64 * 64);
      for (let at = 0; at < 64; at++) gram[at * 65] = at === 5 ? energy : 1;
      return scalesOf(request, true, [gram])[0]! / (largest / 7);
    };
    expect(scaleFor(1000)).toBeGreaterThan(0.95);
    expect(scaleFor(0.001)).toBeLessThan(0.5);
  });

  it("keep what fits the grid, and rows of zeros", () => {
    const values = Float32Array.from({ length: 30 }, (_, at) => (at < 15 ? (at - 7) * 0.5 : 0));
    const request = { ...sampleRequest(2, 15), rows: { values, channels: 2, length: 15 } };
    expect([...scalesOf(request, true)]).toEqual([0.5, 1]);
  });
});

const open: { close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

async function productsOf(workbench: Workbench): Promise<MatrixProducts> {
  const products = await openProducts(workbench);
  open.push(products);
  return products;
}

describe("adaround", () => {
  const options = { iterations: 300, regularization: 1, damping: 0.01, sweepsMax: 20 };

  it("loses far less than nearest, with and without sweeps, the same each time", async () => {
    const products = await productsOf(workbenchOf(() => []));
    const request = { ...sampleRequest(8, 32, 2), products };
    const nearest = totalLoss(request, nearestCodes(request));
    const learned = await learnRounding(request, { ...options, sweepsMax: 0 });
    expect(totalLoss(request, learned)).toBeLessThan(nearest * 0.5);
    const swept = await learnRounding(request, options);
    expect(totalLoss(request, swept)).toBeLessThanOrEqual(totalLoss(request, learned));
    expect(await learnRounding(request, options)).toEqual(swept);
  });

  it("no row ends worse than rounded to nearest", async () => {
    const products = await productsOf(workbenchOf(() => []));
    const request = { ...sampleRequest(16, 32), products };
    // Too weak to decide all in so few steps: what is undecided falls to either side.
    const weak = { ...options, regularization: 0.2, iterations: 100, sweepsMax: 0 };
    const learned = await learnRounding(request, weak);
    const { matrix } = damped(request.gram[0]!, 32, options.damping);
    for (let row = 0; row < 16; row++) {
      expect(rowLoss(request, matrix, row, learned)).toBeLessThanOrEqual(
        rowLoss(request, matrix, row, nearestCodes(request)),
      );
    }
  });

  it("stops when it is told to", async () => {
    const products = await productsOf(workbenchOf(() => []));
    const signal = AbortSignal.abort(new Error("told to"));
    const request = { ...sampleRequest(2, 8), products, signal };
    await expect(learnRounding(request, options)).rejects.toThrow("told to");
  });
});

describe("Gram matrices", () => {
  const cases: readonly (readonly [string, AttributeInputs, number[], number[]])[] = [
    ["plain", {}, [1, 4, 7, 6], [5, 4, 3, 2]],
    ["strides", { strides: { ints: [2, 1] } }, [1, 3, 8, 7], [2, 3, 3, 3]],
    ["pads", { pads: { ints: [1, 0, 2, 1] } }, [1, 2, 5, 6], [3, 2, 3, 3]],
    ["dilations", { dilations: { ints: [2, 3] } }, [1, 2, 9, 9], [3, 2, 2, 3]],
    ["groups", { group: { int: 2 }, pads: { ints: [1, 1, 1, 1] } }, [1, 4, 5, 5], [6, 2, 3, 3]],
    ["depthwise", { group: { int: 4 }, strides: { ints: [2, 2] } }, [1, 4, 7, 7], [4, 1, 3, 3]],
    [
      "same upper",
      { auto_pad: { string: "SAME_UPPER" }, strides: { ints: [2, 2] } },
      [1, 2, 6, 6],
      [3, 2, 3, 2],
    ],
    ["same lower", { auto_pad: { string: "SAME_LOWER" } }, [1, 2, 6, 6], [3, 2, 2, 4]],
    ["valid", { auto_pad: { string: "VALID" } }, [1, 2, 6, 6], [3, 2, 3, 3]],
    ["signals", { pads: { ints: [2, 0] }, strides: { ints: [2] } }, [1, 3, 15], [4, 3, 4]],
    ["a batch", {}, [3, 2, 4, 4], [3, 2, 2, 2]],
    ["more positions than are summed up at once", {}, [1, 2, 9, 9], [3, 2, 2, 2]],
  ];

  /** Sum of the squared outputs of each channel, from the runtime and from the matrix. */
  async function compare(
    opType: string,
    attributes: AttributeInputs,
    inputShape: number[],
    weightShape: number[],
    rowsOf: (weights: Float32Array) => Float32Array = (weights) => weights,
  ): Promise<void> {
    const count = weightShape.reduce((all, dim) => all * dim, 1);
    const weights = randomValues(1, count);
    const model = buildModel({
      opset: 13,
      inputShape,
      nodes: [node(opType, ["x", "w"], ["y"], attributes)],
      initializers: [floatTensor("w", weightShape, weights)],
    });
    const seeds = [1, 2, 3];
    const feeds = seeds.map(feedsOf(inputShape));
    const grams = await openGrams({
      model,
      nodes: model.graph.nodes,
      workbench: workbenchOf(() => feeds),
    });
    open.push(grams);
    const { gram } = (await grams.of("y"))!;
    const length = Math.sqrt(gram[0]!.length);
    const rows = rowsOf(weights);
    const channels = count / length;
    const expected = new Float64Array(channels);
    let positions = 0;
    for (const sample of feeds) {
      const { data, shape } = (await runOnce(model.encode(), sample)).get("y")!;
      const axis = opType === "Conv" ? 1 : shape.length - 1;
      const inner = shape.slice(axis + 1).reduce((all, dim) => all * dim, 1);
      (data as Float32Array).forEach((value, at) => {
        expected[Math.floor(at / inner) % channels]! += value * value;
      });
      positions += data.length / channels;
    }
    for (let channel = 0; channel < channels; channel++) {
      const row = Float64Array.from(rows.subarray(channel * length, (channel + 1) * length));
      const matrix = gram[Math.floor((channel * gram.length) / channels)]!;
      const energy = product(matrix, row).reduce((sum, value, at) => sum + value * row[at]!, 0);
      expect(energy / (expected[channel]! / positions)).toBeCloseTo(1, 4);
    }
  }

  it.each(cases)("of a Conv: %s", async (_name, attributes, inputShape, weightShape) => {
    await compare("Conv", attributes, inputShape, weightShape);
  });

  const turned = (rows: number, columns: number) => (weights: Float32Array) =>
    weights.map((_, at) => weights[(at % rows) * columns + Math.floor(at / rows)]!);

  it("of a Gemm both ways round, and a MatMul of three dims", async () => {
    await compare("Gemm", { transB: { int: 1 } }, [2, 6], [4, 6]);
    await compare("Gemm", {}, [2, 6], [6, 4], turned(6, 4));
    await compare("MatMul", {}, [2, 5, 6], [6, 4], turned(6, 4));
  });

  const deep = (first: number[], second: number[]) =>
    buildModel({
      opset: 13,
      inputShape: [1, 4, 12, 12],
      nodes: [node("Conv", ["x", "w1"], ["c"]), node("Conv", ["c", "w2"], ["y"])],
      initializers: [first, second].map((shape, at) =>
        floatTensor(
          `w${at + 1}`,
          shape,
          randomValues(
            at,
            shape.reduce((all, dim) => all * dim, 1),
          ),
        ),
      ),
    });

  it("come in batches that fit into memory, and are the same then", async () => {
    const model = deep([8, 4, 3, 3], [8, 8, 3, 3]);
    const feeds = [1, 2].map(feedsOf([1, 4, 12, 12]));
    const collect = async (bytesMax: number) => {
      let runs = 0;
      const workbench = workbenchOf(() => {
        runs++;
        return feeds;
      });
      const { nodes } = model.graph;
      const grams = await openGrams({ model, nodes, workbench, options: { bytesMax } });
      open.push(grams);
      const found = [await grams.of("c"), await grams.of("y")].map((each) => each!.gram);
      return { found, runs };
    };
    const together = await collect(2 ** 28);
    const apart = await collect(120_000);
    expect(together.runs).toBe(1);
    expect(apart.runs).toBe(2);
    expect(apart.found).toEqual(together.found);
  });

  it("leave out layers whose rows are too long, and say so", async () => {
    const model = deep([8, 4, 3, 3], [8, 8, 3, 3]);
    const grams = await openGrams({
      model,
      nodes: model.graph.nodes,
      workbench: workbenchOf(() => [1].map(feedsOf([1, 4, 12, 12]))),
      options: { lengthMax: 50 },
    });
    open.push(grams);
    expect(await grams.of("y")).toBeUndefined();
    expect(grams.leftOut).toEqual(["y_node: rows of 72 weights, above 50"]);
    expect(await grams.of("c")).toBeDefined();
  });

  it("refuse no samples, and samples that are not finite", async () => {
    const model = deep([2, 4, 1, 1], [2, 2, 1, 1]);
    const collect = async (count: number, value: number) => {
      const feeds = feedsOf([1, 4, 12, 12])(1);
      (feeds.get("x")!.data as Float32Array)[0] = value;
      const workbench = workbenchOf(() => Array.from({ length: count }, () => feeds));
      const grams = await openGrams({ model, nodes: model.graph.nodes, workbench });
      open.push(grams);
      return grams.of("c");
    };
    await expect(collect(0, 0)).rejects.toMatchObject({ code: "calibration-failed" });
    await expect(collect(1, Number.NaN)).rejects.toMatchObject({ code: "calibration-failed" });
  });
});
