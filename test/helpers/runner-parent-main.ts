/** A parent that starts a model's process, sets it to work for as long as it is told, and waits to be killed. */
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import { iterations, loopInterface } from "./loop-model.ts";

const [, , modelPath, count] = process.argv;
const runner = await startRunner({
  processes: systemProcesses(),
  clock: systemClock(),
  modelPath: modelPath!,
  interface: loopInterface,
});
process.send?.(runner.pid);
await runner.infer(iterations(BigInt(count!)));
process.send?.("done");
setInterval(() => {}, 1_000);
