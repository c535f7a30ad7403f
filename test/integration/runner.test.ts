/** A model's process: what it answers, what it refuses, and how it ends. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import type { Dtype, ModelInterface } from "../../shared/artifact/bundle.ts";
import { type Runner, type RunnerOptions, startRunner } from "../../shared/inference/runner.ts";
import { iterations, loopInterface, loopModelBytes } from "../helpers/loop-model.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";
import { until } from "../helpers/until.ts";

const { folder, remove } = temporaryFolder();
const processes = systemProcesses();
const clock = systemClock();
const code = (name: string) => expect.objectContaining({ code: name });
/** A run that no test waits for. */
const forever = 10n ** 15n;
const open: Runner[] = [];

const file = (name: string, bytes: Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};
const start = async (
  bytes: Uint8Array,
  modelInterface: ModelInterface,
  options: Partial<RunnerOptions> = {},
) => {
  const modelPath = file("model.onnx", bytes);
  const runner = await startRunner({
    processes,
    clock,
    modelPath,
    interface: modelInterface,
    ...options,
  });
  open.push(runner);
  return runner;
};
const alive = (pid: number | undefined) => {
  try {
    process.kill(pid!, 0);
    // A dead process whose new parent has not asked for its exit code yet is a zombie.
    return !(process.platform === "linux" && / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")));
  } catch {
    return false;
  }
};
const goneSoon = (pid: number | undefined) =>
  until("the process to be gone", async () => (alive(pid) ? undefined : true), 10_000);

afterEach(async () => {
  await Promise.all(open.splice(0).map((runner) => runner.close()));
});
afterAll(remove);

/** y = x, of any type and shape. */
const identity = (type: "float32" | "float16" | "uint8", shape: readonly (number | string)[]) =>
  encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        inputs: [makeValueInfo("x", type, shape)],
        outputs: [makeValueInfo("y", type, shape)],
        nodes: [makeNode({ opType: "Identity", inputs: ["x"], outputs: ["y"] })],
      }),
    }),
  );
const raw = (dtype: Dtype, shape: number[]): ModelInterface => ({
  inputs: [{ tensor: "x", sample: { dtype, shape }, steps: [] }],
  output: { kind: "tensors", tensors: ["y"] },
});

describe("a runner", () => {
  it("answers one sample and many alike, and times them", async () => {
    const runner = await start(tinyModelBytes(), tinyInterface);
    const count = 20;
    const data = tinyGolden({ count })["x.npy"].slice(-count * 64);
    const shape = [8, 8];
    expect(await runner.setSamples({ x: { dtype: "uint8", shape, data, count } })).toBe(count);
    const progress: number[] = [];
    const { top1, outputs } = await runner.evaluate((fraction) => progress.push(fraction));
    expect(outputs).toEqual([]);
    expect(progress).toEqual([0]);
    for (let at = 0; at < count; at++) {
      const answer = await runner.infer({ x: data.slice(at * 64, (at + 1) * 64) });
      expect(answer).toMatchObject({ kind: "classification", index: top1[at] });
    }
    expect(new Set(top1).size).toBeGreaterThan(1);
    const { latenciesMs, cpuMs } = await runner.benchmark({ runs: 50, firstSample: 17 });
    expect(latenciesMs.length).toBe(50);
    expect(Math.min(...latenciesMs)).toBeGreaterThan(0);
    expect(cpuMs).toBeGreaterThan(0);
    const memory = await runner.memory();
    expect(memory.ramBaseBytes).toBeGreaterThan(10_000_000);
    expect(memory.ramPeakBytes).toBeGreaterThan(memory.ramBaseBytes);
  });

  it.each([
    ["float32", ["n", 2], [0x3f800000, 0xc0000000], [1, -2]],
    ["float32", [1, 2], [0x3f800000, 0xc0000000], [1, -2]],
    ["float32", [2], [0x3f800000, 0xc0000000], [1, -2]],
    ["float16", ["n", 2], [0xc0003c00], [1, -2]],
  ] as const)("feeds %s to an input of shape %j", async (dtype, shape, words, expected) => {
    const runner = await start(identity(dtype, shape), raw(dtype, [2]));
    const answer = await runner.infer({ x: new Uint8Array(Uint32Array.from(words).buffer) });
    expect(answer.kind === "tensors" && [...answer.tensors["y"]!.data]).toEqual(expected);
  });

  it("holds a second model beside the first, each with its samples, in one process", async () => {
    const runner = await start(tinyModelBytes(), tinyInterface);
    const other = await runner.loadBeside({
      modelPath: file("other.onnx", identity("float32", [2])),
      interface: raw("float32", [2]),
    });
    expect(other.pid).toBe(runner.pid);
    const [first, second] = [new Uint8Array(64 * 3), new Uint8Array(8)];
    await runner.setSamples({ x: { dtype: "uint8", shape: [8, 8], data: first, count: 3 } });
    await other.setSamples({ x: { dtype: "float32", shape: [2], data: second, count: 1 } });
    expect((await runner.evaluate()).top1.length).toBe(3);
    expect((await other.evaluate()).outputs).toEqual([new Float32Array(2)]);
    await other.close();
    await expect(runner.evaluate()).rejects.toEqual(code("runner-crashed"));
  });

  it.each([
    ["a batch of four", identity("float32", [4, 2]), raw("float32", [2])],
    ["another size", identity("float32", ["n", 3]), raw("float32", [2])],
    ["another rank", identity("float32", ["a", "b", "c"]), raw("float32", [2])],
    ["another type", identity("uint8", ["n", 2]), raw("float32", [2])],
    ["another name", tinyModelBytes(), raw("float32", [2])],
  ])("refuses a model that takes %s", async (_what, bytes, modelInterface) => {
    await expect(start(bytes, modelInterface)).rejects.toEqual(code("golden-mismatch"));
  });

  it("refuses what is no model", async () => {
    await expect(start(new Uint8Array(50), tinyInterface)).rejects.toEqual(code("onnx-malformed"));
  });

  it("refuses a sample that does not fit and goes on", async () => {
    const runner = await start(tinyModelBytes(), tinyInterface);
    const mismatch = code("golden-mismatch");
    await expect(runner.infer({ x: new Uint8Array(63) })).rejects.toEqual(mismatch);
    await expect(runner.infer({})).rejects.toEqual(mismatch);
    await expect(runner.benchmark({ runs: 1, firstSample: 0 })).rejects.toEqual(mismatch);
    const short = { dtype: "uint8" as const, shape: [8, 8], data: new Uint8Array(64), count: 2 };
    await expect(runner.setSamples({ x: short })).rejects.toEqual(mismatch);
    await expect(runner.infer({ x: new Uint8Array(64) })).resolves.toBeDefined();
  });

  it("answers NaN with an error to a client, and with no class in an evaluation", async () => {
    const weights = new Float32Array(72).fill(Number.NaN);
    const runner = await start(tinyModelBytes({ weights }), tinyInterface);
    const data = new Uint8Array(64);
    await expect(runner.infer({ x: data })).rejects.toEqual(code("onnx-not-finite"));
    await runner.setSamples({ x: { dtype: "uint8", shape: [8, 8], data, count: 1 } });
    expect([...(await runner.evaluate()).top1]).toEqual([-1]);
  });
});

describe("a runner's process", () => {
  it("that hangs is killed at the time limit, and every call ends", async () => {
    const runner = await start(loopModelBytes(), loopInterface, { callTimeoutMs: 300 });
    const ended = new Promise((resolve) => runner.onExit(resolve));
    const calls = [runner.infer(iterations(forever)), runner.infer(iterations(1n))];
    const results = await Promise.allSettled(calls);
    for (const result of results) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "runner-timeout" } });
    }
    expect(await ended).toEqual(code("runner-timeout"));
    expect(alive(runner.pid)).toBe(false);
    await expect(runner.memory()).rejects.toEqual(code("runner-timeout"));
  });

  it("that is killed in a run is a crash to the caller", async () => {
    const runner = await start(loopModelBytes(), loopInterface);
    const call = runner.infer(iterations(forever));
    const ended = new Promise((resolve) => runner.onExit(resolve));
    process.kill(runner.pid!, "SIGKILL");
    await expect(call).rejects.toEqual(code("runner-crashed"));
    expect(await ended).toEqual(code("runner-crashed"));
    await expect(runner.infer(iterations(1n))).rejects.toEqual(code("runner-crashed"));
  });

  it("that breaks the protocol is ended", async () => {
    let pid: number | undefined;
    const chatty = startRunner({
      processes: {
        fork: (entry, options) => {
          const child = processes.fork(entry, options);
          pid = child.pid;
          return {
            ...child,
            onMessage: (handler) => child.onMessage(() => handler({ kind: "nonsense" })),
          };
        },
      },
      clock,
      modelPath: file("model.onnx", tinyModelBytes()),
      interface: tinyInterface,
    });
    await expect(chatty).rejects.toEqual(code("runner-crashed"));
    expect(alive(pid)).toBe(false);
  });

  it("is gone when it was closed", async () => {
    const runner = await start(loopModelBytes(), loopInterface);
    const call = expect(runner.infer(iterations(forever))).rejects.toEqual(code("runner-crashed"));
    await runner.close();
    await call;
    expect(alive(runner.pid)).toBe(false);
  });

  // Only Linux ends a process inside a run; elsewhere it leaves after the run.
  const moments: [string, bigint][] = [["idle", 1n]];
  if (process.platform === "linux") moments.push(["inside a run", forever]);
  it.each(moments)("leaves when its parent is killed while it is %s", async (_when, count) => {
    const entry = new URL("../helpers/runner-parent-main.ts", import.meta.url);
    const modelPath = file("loop.onnx", loopModelBytes());
    const parent = processes.fork(entry, { args: [modelPath, String(count)] });
    const said: unknown[] = [];
    parent.onMessage((message) => said.push(message));
    const wanted = count === forever ? 1 : 2;
    await until("the model's process", async () => (said.length === wanted ? true : undefined));
    const pid = said[0] as number;
    await clock.sleep(300);
    expect(alive(pid)).toBe(true);
    parent.kill("SIGKILL");
    try {
      await goneSoon(pid);
    } finally {
      if (alive(pid)) process.kill(pid, "SIGKILL");
    }
  });
});
