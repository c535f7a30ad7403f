/**
 * The measured int8-against-float32 figure of this device: one small convolution net and its int8
 * twin, timed in turns. Done once per fingerprint, since it is a fact about hardware and runtime.
 */
import { fileURLToPath } from "node:url";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { isFleetError } from "../../shared/errors.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import { median } from "../../shared/statistics/median.ts";
import type { AgentPorts } from "../context.ts";
import type { AgentStore } from "../state/store.ts";

const side = 32;
const channels = 16;
const probeInterface: ModelInterface = {
  inputs: [{ tensor: "x", sample: { dtype: "float32", shape: [channels, side, side] }, steps: [] }],
  output: { kind: "tensors", tensors: ["y"] },
};
const pairs = 15;
const runsPerBlock = 32;

/** Median of int8 over float32 block medians; null when this device cannot run the nets. */
export async function int8Ratio(
  ports: Pick<AgentPorts, "processes" | "clock" | "log">,
  store: AgentStore,
  fingerprint: string,
): Promise<number | null> {
  const key = `int8Ratio/${fingerprint}`;
  const known = store.setting(key);
  if (known !== undefined) return Number(known);
  try {
    const ratio = await measure(ports);
    store.setSetting(key, String(ratio));
    return ratio;
  } catch (error) {
    if (!isFleetError(error)) throw error;
    ports.log.warn("the int8 figure could not be measured", { error: error.message });
    return null;
  }
}

async function measure(ports: Pick<AgentPorts, "processes" | "clock">): Promise<number> {
  const open = (name: string) =>
    startRunner({
      processes: ports.processes,
      clock: ports.clock,
      modelPath: fileURLToPath(
        new URL(`../../shared/inference/probe-models/${name}.onnx`, import.meta.url),
      ),
      interface: probeInterface,
    });
  const float32 = await open("float32");
  const int8 = await open("int8").catch(async (error: unknown) => {
    await float32.close();
    throw error;
  });
  try {
    const data = new Uint8Array(new Float32Array(channels * side * side).fill(0.5).buffer);
    const samples = {
      x: { dtype: "float32" as const, shape: [channels, side, side], data, count: 1 },
    };
    await float32.setSamples(samples);
    await int8.setSamples(samples);
    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      const slow = await float32.benchmark({ runs: runsPerBlock, firstSample: 0 });
      const fast = await int8.benchmark({ runs: runsPerBlock, firstSample: 0 });
      ratios.push(median(fast.latenciesMs) / median(slow.latenciesMs));
    }
    return median(ratios);
  } finally {
    await float32.close();
    await int8.close();
  }
}
