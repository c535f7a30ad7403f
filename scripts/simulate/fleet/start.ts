/** The start state of fleets: every release is a version that can be offered, in files of one block. */
import { makeStartState, type StartState } from "../world/start-state.ts";
import { releases } from "./mixes.ts";

const modelBytes = 4_000;
/** Devices keep a shard of their own while there are so many. */
const shardsMax = 50;

export function makeFleetStart(devices: number): Promise<StartState> {
  const changes = Object.fromEntries(
    Object.entries(releases).map(([name, { change }]) => [name, change]),
  );
  return makeStartState({ changes, modelBytes, shards: Math.min(devices, shardsMax) });
}
