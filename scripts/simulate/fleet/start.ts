/** The start state of fleets: every release is a version that can be offered, in files of one block. */
import { makeStartState, type StartState } from "../world/start-state.ts";
import { releases } from "./releases.ts";

const modelBytes = 4_000;
/** Few, so that a trial is cheap to simulate; what a fleet proves rests on its pairs. */
const shardSamples = 50;
/**
 * One shard proves one pair: with this many a fleet that is large enough proves a healthy release
 * (about 290 pairs) with as many again to spare.
 */
const shardsMax = 600;

export function makeFleetStart(devices: number): Promise<StartState> {
  const changes = Object.fromEntries(
    Object.entries(releases).map(([name, { change }]) => [name, change]),
  );
  const pool = { shards: Math.min(devices, shardsMax), shardSamples };
  return makeStartState({ changes, modelBytes, pool });
}
