/** A process that helps to calibrate: the same numbers as without it, whatever becomes of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collectStatistics } from "../../controller/compress/calibration/collect.ts";
import type { Workbench } from "../../controller/compress/execute.ts";
import { loadBeside, loadModel } from "../../controller/jobs/workbench.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { type Helper, helpersFor, startHelper } from "../../shared/inference/helper.ts";
import { parityFeeds, parityNet } from "../unit/controller/compress/parity-net.ts";

const ports = { processes: systemProcesses(), clock: systemClock() };
const seeds = Array.from({ length: 60 }, (_, at) => at + 1);
const tensors = ["x", "c1", "r2", "sum", "h", "y"];
const code = (name: string) => expect.objectContaining({ code: name });
const feeds = {
  x: { dtype: "float32", shape: [1, 3, 6, 6], data: parityFeeds(1).get("x")!.data as Float32Array },
};

let helper: Helper;
beforeAll(async () => {
  helper = await startHelper(ports);
});
afterAll(() => helper.close());

function collect(more: Partial<Workbench>) {
  const workbench: Workbench = {
    load: loadModel,
    calibration: () => seeds.map(parityFeeds),
    ...more,
  };
  return collectStatistics({ workbench, model: parityNet(), tensors, needsHistograms: true });
}

/** Beside this process, noting how many samples the helper ran. */
function counted(by: Helper) {
  const seen = { samples: 0 };
  const load = async (bytes: Uint8Array) => {
    const model = await loadBeside(by)(bytes);
    const run: typeof model.run = async (stack) => {
      const results = await model.run(stack);
      seen.samples += [...stack.values()][0]!.shape[0]!;
      return results;
    };
    return { ...model, run };
  };
  return { load, seen };
}

describe("a helper", () => {
  it("changes no bit of the statistics", async () => {
    const { load, seen } = counted(helper);
    const slow: Workbench["load"] = async (bytes, optimization) => {
      const model = await loadModel(bytes, optimization);
      // So that the helper is ready before the samples are used up.
      await new Promise((resolve) => setTimeout(resolve, 300));
      return model;
    };
    const alone = await collect({});
    expect(await collect({ load: slow, loadBeside: [load] })).toEqual(alone);
    expect(seen.samples).toBeGreaterThan(3);
  });

  it("may end at any time", async () => {
    const mortal = await startHelper(ports);
    const { load } = counted(mortal);
    const alone = await collect({});
    let left = 20;
    const dying = function* () {
      for (const seed of seeds) {
        if (left-- === 0) void mortal.close();
        yield parityFeeds(seed);
      }
    };
    expect(await collect({ loadBeside: [load], calibration: dying })).toEqual(alone);
    expect(await collect({ loadBeside: [load] })).toEqual(alone);
  });

  it("holds the model that was opened last, and no other one", async () => {
    const bytes = parityNet().encode();
    const first = await helper.open(bytes);
    expect(first.ranks).toEqual({ x: 4 });
    const second = await helper.open(bytes);
    await expect(first.run(feeds)).rejects.toEqual(code("model-missing"));
    await first.close();
    const [one, two] = await Promise.all([second.run(feeds), second.run(feeds)]);
    expect(one).toEqual(two);
    await second.close();
    await expect(second.run(feeds)).rejects.toEqual(code("model-missing"));
    await expect(helper.open(Uint8Array.of(1, 2, 3))).rejects.toEqual(code("onnx-malformed"));
  });

  it("has a use where there are processors for it", () => {
    expect([1, 2, 4, 64].map(helpersFor)).toEqual([0, 1, 3, 3]);
  });
});
