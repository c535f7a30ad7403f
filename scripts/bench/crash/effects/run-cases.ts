/** Records what programs do, enumerates the cases and replays them. */
import type { Effect } from "../../../simulate/world/effects.ts";
import type { StartState } from "../../../simulate/world/start-state.ts";
import { type CrashCase, casesOf } from "./cases.ts";
import { doubleCases, enrolmentCases, serverCases } from "./further-cases.ts";
import type { PlantedFault } from "./planted-faults.ts";
import { type Ending, replay } from "./replay.ts";
import { goodVersion } from "./start-state.ts";

export interface Replayed {
  readonly crash: Pick<CrashCase, "kind" | "at">;
  readonly ending: Ending;
}

/** The cases of one update, of the program as it is, or with a fault planted into it. */
export async function enumerateCases(
  start: StartState,
  fault?: PlantedFault,
): Promise<CrashCase[]> {
  const effects: Effect[] = [];
  await replay(start, {
    version: goodVersion,
    endings: [],
    fate(effect) {
      effects.push(effect);
      return "done";
    },
    ...(fault && { change: fault.change }),
  });
  return casesOf(effects);
}

/** Second cuts that are drawn; there are some 30,000. */
const doubles = 300;

/** Everything that the benchmark replays. */
export async function allCases(start: StartState): Promise<CrashCase[]> {
  return [
    ...(await enumerateCases(start)),
    ...(await enrolmentCases(start)),
    ...(await serverCases(start)),
    ...(await doubleCases(start, doubles)),
  ];
}

export async function replayCase(
  start: StartState,
  { kind, at, script }: CrashCase,
  fault?: PlantedFault,
): Promise<Replayed> {
  const ending = await replay(start, fault ? { ...script, change: fault.change } : script);
  return { crash: { kind, at }, ending };
}
