/**
 * What is true on a device, read from its disk, its database and its processes; the agent is not asked.
 */
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import { modelName } from "../world/catalogue.ts";
import { lookUp } from "../world/disk.ts";
import type { Machine } from "../world/machine.ts";
import { type AgentRun, deviceDir } from "../world/programs.ts";

export interface Observation {
  /** The slot that the pointer names; undefined without one. */
  readonly committed:
    | { readonly slot: string; readonly status: string; readonly bundleSha256: string | null }
    | undefined;
  /** Hash of the descriptor in that slot, and of the model file beside it. */
  readonly descriptorSha256: string | undefined;
  readonly modelSha256: string | undefined;
  /** Hashes of the model files that live processes loaded. */
  readonly loaded: readonly string[];
  readonly counterHighest: number;
  /** Attempts that it knows of. */
  readonly attempts: readonly string[];
  readonly openAttempts: number;
  readonly outcomesWaiting: number;
  readonly isUp: boolean;
  /** Errors that nobody caught. */
  readonly faults: readonly string[];
}

const databasePath = `${deviceDir}/agent.db`;
const undecided = "select count(*) from attempts where outcomeJson is null";
const untold = "select count(*) from outbox where message = 'attempt-outcome'";

/** Nothing is under way on the device and nothing waits to be told; without the rest of an observation. */
export function isQuiet(machine: Machine, started: AgentRun): boolean {
  if (started.agent === undefined || !machine.isOn()) return false;
  const sql = `select (${undecided}) + (${untold}) as n`;
  return machine.readDatabase(
    databasePath,
    (database) => (database.prepare(sql).get() as { n: number }).n === 0,
  );
}

export function observe(machine: Machine, started: AgentRun): Observation {
  return {
    ...machine.readDatabase(databasePath, (database) => stored(machine, database)),
    loaded: started.run.processes.loaded(),
    isUp: started.agent !== undefined && machine.isOn(),
    faults: started.run.faults.map(String),
  };
}

function stored(machine: Machine, database: Database.Database) {
  const committed = database
    .prepare(
      `select slots.slot, status, bundleSha256 from models
       join slots on slots.model = models.name and slots.slot = models.committedSlot
       where models.name = ?`,
    )
    .get(modelName) as Observation["committed"];
  const hashOf = (name: string) => {
    const folder = `${deviceDir}/models/${modelName}/${committed?.slot}`;
    const found = lookUp(machine.disk(), `${folder}/${name}`);
    if (found?.kind !== "file") return undefined;
    return createHash("sha256").update(found.content).digest("hex");
  };
  const counts = database
    .prepare(
      `select (${undecided}) as openAttempts, (${untold}) as outcomesWaiting,
       (select coalesce(max(releaseCounterHighest), 0) from models) as counterHighest`,
    )
    .get() as Pick<Observation, "openAttempts" | "outcomesWaiting" | "counterHighest">;
  const known = database.prepare("select id from attempts").all() as { id: string }[];
  return {
    committed,
    descriptorSha256: hashOf("bundle.json"),
    modelSha256: hashOf("model.onnx"),
    attempts: known.map(({ id }) => id),
    ...counts,
  };
}
