/**
 * Latency on real runners while other processes take every core: a model against itself is never called
 * slow, a model of twice the work always is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { looksMax } from "../../agent/trial/resources.ts";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { systemRandom } from "../../shared/adapters/system-random.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import { latencyGate } from "../../shared/evaluation/resource-gates.ts";
import { compareLatency } from "../../shared/inference/compare-latency.ts";
import { type Runner, startRunner } from "../../shared/inference/runner.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";

const width = 192;
const { folder, remove } = temporaryFolder();
const load: ChildProcess[] = [];
const busyProcesses = availableParallelism();
const modelInterface: ModelInterface = {
  inputs: [{ tensor: "t0", sample: { dtype: "float32", shape: [width] }, steps: [] }],
  output: { kind: "tensors", tensors: ["y"] },
};

/** A chain of matrix products: its time grows with its depth. */
function chainFile(depth: number): string {
  const path = join(folder, `chain-${depth}.onnx`);
  const nodes = Array.from({ length: depth }, (_, at) =>
    makeNode({
      opType: "MatMul",
      inputs: [`t${at}`, "w"],
      outputs: [at === depth - 1 ? "y" : `t${at + 1}`],
    }),
  );
  const graph = makeGraph({
    nodes,
    inputs: [makeValueInfo("t0", "float32", ["n", width])],
    outputs: [makeValueInfo("y", "float32", ["n", width])],
    initializers: [floatTensor("w", [width, width], new Float32Array(width * width).fill(0.01))],
  });
  writeFileSync(path, encodeModel(makeModel({ opset: 13, graph })));
  return path;
}

const shallow = { modelPath: chainFile(20), interface: modelInterface };
const deep = { modelPath: chainFile(40), interface: modelInterface };
const start = (model: typeof shallow) =>
  startRunner({ processes: systemProcesses(), clock: systemClock(), ...model });

async function filled(runner: Runner): Promise<Runner> {
  const data = new Uint8Array(new Float32Array(8 * width).fill(0.5).buffer);
  await runner.setSamples({ t0: { dtype: "float32", shape: [width], data, count: 8 } });
  return runner;
}

/** One look of a device whose budget is the default. */
async function look(fresh: Runner, running: Runner) {
  const alpha = alphaOf("latency", 0.001) / looksMax;
  const options = { alpha: alpha / 2, random: systemRandom(), energy: undefined };
  const found = await compareLatency(fresh, running, options);
  const environment = { ...found, loadPerCore: undefined, unfit: undefined };
  return latencyGate({ ...found, ratioMax: 1.1, alpha, environment });
}

beforeAll(() => {
  for (let at = 0; at < busyProcesses; at++) {
    load.push(spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
  }
});
afterAll(() => {
  for (const child of load) child.kill("SIGKILL");
  remove();
});

describe("on a machine whose cores are all taken", () => {
  it("never calls a model slower than itself, and always one of twice the work", async () => {
    const processes = await Promise.all([start(shallow), start(deep)]);
    try {
      const [one, twice] = await Promise.all(processes.map(filled));
      const [same, once] = await Promise.all(
        processes.map(async (runner) => filled(await runner.loadBeside(shallow))),
      );
      const alike = [await look(same!, one!), await look(one!, same!)];
      expect(alike.map(({ verdict }) => verdict)).not.toContain("fail");
      const slow = await look(twice!, once!);
      expect(slow).toMatchObject({ verdict: "fail" });
      expect(slow.numbers["stolenFraction"]).toBeGreaterThan(0);
    } finally {
      await Promise.all(processes.map((runner) => runner.close()));
    }
  }, 240_000);
});
