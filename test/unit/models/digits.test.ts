/** The committed digit models are what their record says, and training them repeats. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeModel } from "../../../controller/onnx/proto.ts";
import { goldenPool } from "../../../scripts/data/golden-pool.ts";
import { loadMnist, takeDigits, trainingIndices } from "../../../scripts/data/mnist.ts";
import { accuracyOf, predictDigits } from "../../../scripts/models/digits/evaluate.ts";
import { buildDigitNetwork } from "../../../scripts/models/digits/network.ts";
import {
  modelBytesMax,
  readDigitModel,
  readDigitsRecord,
} from "../../../scripts/models/digits/record.ts";
import { trainDigits } from "../../../scripts/models/digits/train.ts";
import { digitVersions, withLabelFault } from "../../../scripts/models/digits/versions.ts";
import { eightPoints, weakened } from "../../../scripts/models/weakened.ts";
import { seededRandom } from "../../../shared/prng.ts";

const mnist = loadMnist();
const record = readDigitsRecord();
const sampleCount = 2_000;
const sample = goldenPool(mnist, sampleCount);

describe("the committed digit models", () => {
  it("are the versions that the scripts make", () => {
    expect(record.versions.map(({ version, seed, epochs }) => ({ version, seed, epochs }))).toEqual(
      digitVersions.map(({ version, seed, epochs }) => ({ version, seed, epochs })),
    );
  });

  it("improve by version 2 and really get worse by version 3", () => {
    const [first, second, third] = record.versions.map(({ accuracy }) => accuracy) as [
      number,
      number,
      number,
    ];
    expect(second).toBeGreaterThanOrEqual(first);
    expect(second).toBeGreaterThanOrEqual(0.985);
    expect(second - third).toBeGreaterThanOrEqual(0.08);
    expect(second - third).toBeLessThanOrEqual(0.14);
  });

  for (const version of record.versions) {
    it(`version ${version.version}: bytes, size and accuracy are as recorded`, async () => {
      const bytes = readDigitModel(version.version);
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(version.sha256);
      expect(bytes.length).toBe(version.bytes);
      expect(bytes.length).toBeLessThanOrEqual(modelBytesMax);
      const accuracy = accuracyOf(await predictDigits(bytes, sample), sample.labels);
      // The sample is a part of the pool: five standard errors of a share of 2,000.
      const spread = Math.sqrt((version.accuracy * (1 - version.accuracy)) / sampleCount);
      expect(Math.abs(accuracy - version.accuracy)).toBeLessThan(5 * spread);
    });
  }

  it("keep BatchNormalization and a free batch, as exporters leave them", () => {
    const graph = decodeModel(readDigitModel(1)).graph!;
    expect(graph.node.filter(({ opType }) => opType === "BatchNormalization").length).toBe(4);
    expect(graph.input[0]!.type!.tensorType!.shape!.dim[0]!.dimParam).toBe("N");
  });
});

describe("weakened", () => {
  it("takes eight points from version 2, by the same bytes each time", async () => {
    const pool = goldenPool(mnist, 7_000);
    const accuracy = async (bytes: Uint8Array) =>
      accuracyOf(await predictDigits(bytes, pool), pool.labels);
    const good = readDigitModel(2);
    const weak = weakened(good, eightPoints);
    expect(weakened(good, eightPoints)).toEqual(weak);
    const lost = (await accuracy(good)) - (await accuracy(weak));
    expect(Math.abs(lost - 0.08)).toBeLessThan(0.007);
  });

  it("changes nothing but the last layer", () => {
    const initializers = (bytes: Uint8Array) => decodeModel(bytes).graph!.initializer;
    const good = readDigitModel(2);
    const before = initializers(good);
    const changed = initializers(weakened(good, eightPoints)).filter(
      (tensor, index) => Buffer.compare(tensor.rawData!, before[index]!.rawData!) !== 0,
    );
    expect(changed.map(({ name }) => name)).toEqual(["head.weight"]);
  });
});

describe("trainDigits", () => {
  it("gives the same bytes for the same version and images", async () => {
    const digits = takeDigits(mnist.train, trainingIndices().subarray(0, 320));
    const version = { ...digitVersions[1]!, epochs: 1 };
    const train = () => trainDigits({ version, startModel: buildDigitNetwork(1), digits });
    const first = await train();
    expect(Buffer.compare(await train(), first)).toBe(0);
    expect(Buffer.compare(buildDigitNetwork(1), first)).not.toBe(0);
  });
});

describe("withLabelFault", () => {
  it("rewrites the wanted share of one class and nothing else", () => {
    const digits = takeDigits(mnist.train, trainingIndices());
    const fault = { trueLabel: 1, writtenLabel: 7, fraction: 0.9 };
    const faulty = withLabelFault(digits, fault, seededRandom(3));
    const ones = digits.labels.filter((label) => label === 1).length;
    let changed = 0;
    faulty.labels.forEach((label, index) => {
      if (label === digits.labels[index]) return;
      expect([digits.labels[index], label]).toEqual([1, 7]);
      changed += 1;
    });
    expect(changed).toBe(Math.round(ones * 0.9));
    expect(faulty.images).toBe(digits.images);
  });
});
