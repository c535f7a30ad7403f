/**
 * What is true on a device, read from its disk, its database and its processes; the agent is not asked.
 */
import { createHash } from "node:crypto";
import Database from "better-sqlite3";
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

export function observe(machine: Machine, started: AgentRun): Observation {
  const { disk, images } = machine.storage();
  const database = new Database(Buffer.from(images.get(`${deviceDir}/agent.db`) ?? []));
  try {
    const committed = database
      .prepare(
        `select slots.slot, status, bundleSha256 from models
         join slots on slots.model = models.name and slots.slot = models.committedSlot
         where models.name = ?`,
      )
      .get(modelName) as Observation["committed"];
    const hashOf = (name: string) => {
      const folder = `${deviceDir}/models/${modelName}/${committed?.slot}`;
      const found = lookUp(disk, `${folder}/${name}`);
      if (found?.kind !== "file") return undefined;
      return createHash("sha256").update(found.content).digest("hex");
    };
    const count = (sql: string) => (database.prepare(sql).get() as { n: number | null }).n ?? 0;
    return {
      committed,
      descriptorSha256: hashOf("bundle.json"),
      modelSha256: hashOf("model.onnx"),
      loaded: started.run.processes.loaded(),
      counterHighest: count("select max(releaseCounterHighest) as n from models"),
      attempts: (database.prepare("select id from attempts").all() as { id: string }[]).map(
        ({ id }) => id,
      ),
      openAttempts: count("select count(*) as n from attempts where outcomeJson is null"),
      outcomesWaiting: count("select count(*) as n from outbox where message = 'attempt-outcome'"),
      isUp: started.agent !== undefined && machine.isOn(),
      faults: started.run.faults.map(String),
    };
  } finally {
    database.close();
  }
}
