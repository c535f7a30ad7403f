/** The versions that the effects harness offers, and the state that every replay begins in. */
import { makeStartState, type StartState } from "../../../simulate/world/start-state.ts";
import { healthyModel, type SyntheticModel } from "../../../simulate/world/synthetic-model.ts";

/** Versions that a trial must keep out, by what is wrong with them. */
const badModels: Readonly<Record<string, Partial<SyntheticModel>>> = {
  "crash-loading": { crashes: "loading" },
  "crash-first-run": { crashes: "first-run" },
  "hang-in-evaluation": { hangsAtRun: 100 },
  "hang-in-benchmark": { hangsAtRun: 300 },
  "memory-3x": { ramPeakBytes: 3 * healthyModel.ramPeakBytes },
  "latency-2x": { latencyMs: 2 * healthyModel.latencyMs },
  "accuracy-minus-20": { accuracy: healthyModel.accuracy - 0.2 },
};
export const badVersions = Object.keys(badModels);
/** Goes bad only after a trial could see it: the device must live with it either way. */
export const lateVersion = "hang-at-5000";
const lateModel: Partial<SyntheticModel> = { hangsAtRun: 5_000 };
export const goodVersion = "2";
/** Three blocks of a transfer. */
const modelBytes = 150_000;

export function makeCrashState(): Promise<StartState> {
  const changes = { [goodVersion]: {}, ...badModels, [lateVersion]: lateModel };
  return makeStartState({ changes, modelBytes, pool: { shards: 1, shardSamples: 200 } });
}
