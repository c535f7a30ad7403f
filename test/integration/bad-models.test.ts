/** Models that pass every look and misbehave in service: each ends its own process and no other. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { type Runner, type RunnerOptions, startRunner } from "../../shared/inference/runner.ts";
import { badModelBytes, type Misbehaviour, markedImage } from "../helpers/bad-models.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";
import { tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
const megabyte = 1_000_000;
const grey = { x: new Uint8Array(64).fill(100) };
const marked = { x: markedImage };
const code = (name: string) => expect.objectContaining({ code: name });
const open: Runner[] = [];

async function start(bytes: Uint8Array, options: Partial<RunnerOptions> = {}): Promise<Runner> {
  const modelPath = join(folder, "model.onnx");
  writeFileSync(modelPath, bytes);
  const runner = await startRunner({
    processes: systemProcesses(),
    clock: systemClock(),
    modelPath,
    interface: tinyInterface,
    callTimeoutMs: 20_000,
    ...options,
  });
  open.push(runner);
  return runner;
}
const memory = (ramBytesMax: number) => ({ memory: { files: systemFiles(), ramBytesMax } });

/** Only x86 stops at the division that the model makes. */
const expectCrash = (answer: Promise<unknown>) =>
  process.arch === "x64"
    ? expect(answer).rejects.toThrow(code("runner-crashed"))
    : expect(answer).resolves.toBeDefined();

afterEach(async () => {
  await Promise.all(open.splice(0).map((runner) => runner.close()));
});
afterAll(remove);

describe("a model that misbehaves on a marked input", () => {
  it.each<Misbehaviour["does"]>(["hang", "fill-memory", "crash"])(
    "(%s) answers all others as the sound one does",
    async (does) => {
      const sound = await start(tinyModelBytes());
      const bad = await start(badModelBytes({ does, on: "the marked input" }));
      expect(await bad.infer(grey)).toEqual(await sound.infer(grey));
    },
  );

  it("is late when it hangs", async () => {
    const runner = await start(badModelBytes({ does: "hang", on: "the marked input" }));
    await expect(runner.infer(marked, { timeoutMs: 300 })).rejects.toThrow(code("runner-timeout"));
  });

  it("is killed when it takes more memory than it may, and not below that", async () => {
    const bytes = badModelBytes({ does: "fill-memory", on: "the marked input" });
    const narrow = await start(bytes, memory(400 * megabyte));
    await narrow.infer(grey);
    await expect(narrow.infer(marked)).rejects.toThrow(code("runner-memory"));
    const wide = await start(bytes, memory(4_000 * megabyte));
    await wide.infer(marked);
    expect((await wide.memory()).ramPeakBytes).toBeGreaterThan(600 * megabyte);
  });

  it("takes its process with it when it crashes", async () => {
    const runner = await start(badModelBytes({ does: "crash", on: "the marked input" }));
    await expectCrash(runner.infer(marked));
  });
});

it("a model that crashes in its first run does so", async () => {
  const runner = await start(badModelBytes({ does: "crash", on: "every input" }));
  await expectCrash(runner.infer(grey));
});
