/** Many whole agents in this process, on simulated disks and with models that compute nothing. */
import { callModel } from "../../../agent/serving/call.ts";
import { connectSystemMqtt } from "../../../shared/adapters/system-mqtt.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { modelName } from "../world/catalogue.ts";
import { createMachine, emptyStorage, type World } from "../world/machine.ts";
import { type AgentRun, startAgent } from "../world/programs.ts";
import { inputOf, sampleSet } from "../world/synthetic-model.ts";
import type { Meter } from "./meter.ts";

/** Agents that start at the same time: each makes a key and enrols. */
const startTogether = 20;
const bootMsMax = 120_000;

/** Errors: an `Error` of the first agent that did not come up. */
export async function startAgents(
  world: World,
  meter: Meter,
  claims: Readonly<Record<string, string>>,
): Promise<AgentRun[]> {
  const runs: AgentRun[] = [];
  const waiting = Object.entries(claims);
  while (waiting.length > 0) {
    const begun = waiting.splice(0, startTogether).map(([name, claimToken]) => {
      const machine = createMachine(world, { name, storage: emptyStorage() });
      const connectMqtt = meter.count(connectSystemMqtt);
      return startAgent(world, machine, { claimToken, change: () => ({ connectMqtt }) });
    });
    runs.push(...begun);
    const failed = () => begun.find(({ error }) => error !== undefined);
    const areUp = () => failed() !== undefined || begun.every(({ agent }) => agent !== undefined);
    const settled = await world.time.run(bootMsMax, areUp);
    const error = failed()?.error ?? (settled ? undefined : "an agent did not start in time");
    if (error === undefined) continue;
    await stopAgents(runs);
    throw new Error(String(error));
  }
  return runs;
}

export async function stopAgents(runs: readonly AgentRun[]): Promise<void> {
  await Promise.all(runs.map(({ agent }) => agent?.stop()));
}

/** Each agent answers one input in `everyMs`, so that it has something to report. Runs until it is stopped. */
export function askModels(
  { time }: Pick<World, "time">,
  runs: readonly AgentRun[],
  everyMs: number,
): () => void {
  const random = seededRandom(1);
  const cancels = new Map<AgentRun, () => void>();
  for (const run of runs) {
    const ask = (): void => {
      cancels.set(run, time.after(everyMs, ask));
      if (run.local === undefined) return;
      const sample = inputOf(sampleSet(random.nextUint32(), 1).data);
      // Errors are recorded where they count.
      callModel(run.local, modelName, sample).catch(() => {});
    };
    cancels.set(run, time.after(random.nextInt(everyMs), ask));
  }
  return () => {
    for (const cancel of cancels.values()) cancel();
  };
}
