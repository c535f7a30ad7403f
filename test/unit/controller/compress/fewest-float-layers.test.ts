/** The search for layers that must stay float: how few it finds, and that it keeps to its bound. */
import { describe, expect, it } from "vitest";
import { fewestFloatLayers } from "../../../../controller/compress/accuracy/fewest-float-layers.ts";
import { missesOf } from "../../../../controller/compress/accuracy/floor.ts";

/** A net whose noise is the sum of that of its quantized layers. */
function net(noises: readonly number[], noiseMax: number) {
  const layers = noises.map((_, at) => `layer${at}`);
  let evaluations = 0;
  const noiseOf = (float: readonly string[]) => {
    evaluations++;
    return noises.reduce((sum, noise, at) => sum + (float.includes(layers[at]!) ? 0 : noise), 0);
  };
  return {
    layers,
    count: () => evaluations,
    rank: async (float: readonly string[]) => noiseOf(float),
    async evaluate(float: readonly string[]) {
      const noise = noiseOf(float);
      return { noise, misses: noise > noiseMax ? ["too much noise"] : [] };
    },
  };
}

describe("the fewest layers that stay float", () => {
  it("are none when all integers are good enough", async () => {
    const tried = net([1, 1, 1], 5);
    const found = await fewestFloatLayers({ ...tried, evaluationsMax: 60 });
    expect(found).toMatchObject({ float: [], evaluations: 1, sensitivities: [] });
  });

  it("are the noisy ones, and the answer was evaluated itself", async () => {
    const tried = net([1, 9, 1, 7, 1, 1, 1, 1], 7);
    const found = await fewestFloatLayers({ ...tried, evaluationsMax: 60 });
    expect([...found.float].sort()).toEqual(["layer1", "layer3"]);
    expect(found.quality).toEqual({ noise: 6, misses: [] });
    expect(found.sensitivities[0]!.layers).toEqual(["layer1"]);
  });

  it.each([3, 5, 8, 13, 30, 60])("takes no more than %i evaluations", async (evaluationsMax) => {
    const noises = Array.from({ length: 40 }, (_, at) => 1 + ((at * 7) % 11));
    const tried = net(noises, 60);
    const found = await fewestFloatLayers({ ...tried, evaluationsMax });
    expect(found.evaluations).toBeLessThanOrEqual(evaluationsMax);
    expect(tried.count()).toBe(found.evaluations);
    expect(found.quality.misses).toEqual([]);
  });

  it("leaves out a layer that only looked sensitive", async () => {
    // Two layers cancel each other's error: with both in integers nothing is lost.
    const layers = ["a", "b", "c"];
    const evaluate = async (float: readonly string[]) => {
      const noise = float.includes("c") ? 0 : 10;
      return { noise, misses: noise > 0 ? ["lost"] : [] };
    };
    const rank = async (float: readonly string[]) => (float.includes("a") ? 1 : 5);
    const found = await fewestFloatLayers({ layers, evaluate, rank, evaluationsMax: 60 });
    expect(found.float).toEqual(["c"]);
  });

  it("says what is missed when even all layers in float do not help", async () => {
    const evaluate = async () => ({ noise: 1, misses: ["hopeless"] });
    const found = await fewestFloatLayers({
      layers: ["a", "b"],
      evaluate,
      rank: async () => 1,
      evaluationsMax: 60,
    });
    expect(found.quality.misses).toEqual(["hopeless"]);
    expect(found.float).toEqual(["a", "b"]);
  });
});

describe("a floor", () => {
  const floor = { metricDropMax: 0.01, sliceDropMax: 0.05, decibelMin: 20 };
  const losses = (wrong: number, count: number) =>
    Float64Array.from({ length: count }, (_, at) => (at < wrong ? 1 : 0));

  it("is held in all and in each slice", () => {
    const slices = Array.from({ length: 200 }, (_, at) => (at < 40 ? "eu" : "us"));
    const judged = { losses: losses(2, 200), slices, decibel: 0 };
    expect(missesOf(floor, judged, losses(0, 200))).toEqual([]);
    const worse = { losses: losses(3, 200), slices, decibel: 0 };
    expect(missesOf(floor, worse, losses(0, 200))).toEqual([
      "1.50 points lost in all, 1.00 are granted",
      "7.50 points lost in eu, 5.00 are granted",
    ]);
  });

  it("rests on likeness where there are no labels", () => {
    const of = (decibel: number) =>
      missesOf(floor, { losses: undefined, slices: undefined, decibel }, undefined);
    expect(of(21)).toEqual([]);
    expect(of(19)).toHaveLength(1);
  });
});
