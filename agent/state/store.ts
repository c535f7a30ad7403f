/**
 * Everything the agent must not forget, in one SQLite file: identity, slots, attempts, transfers and
 * the outbox.
 *
 * Invariants: a model has two slots and at most one is committed; the committed slot is never marked
 * bad; an attempt has at most one outcome, stored in the same transaction as what it changed.
 */
import { z } from "zod";
import type { Sqlite } from "../../shared/ports/sqlite.ts";
import {
  type GateResult,
  gateResultSchema,
} from "../../shared/protocol/messages/attempt-outcome.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import { migrateAgentDatabase } from "./schema.ts";
import { soakRows } from "./soak-rows.ts";
import { trialRows } from "./trial-rows.ts";

export type SlotName = "a" | "b";
export interface SlotRow {
  readonly model: string;
  readonly slot: SlotName;
  /** `bad` from before the first write until every file in it is verified. */
  readonly status: "empty" | "bad" | "ready";
  readonly bundleSha256: string | null;
  readonly version: string | null;
  readonly recipe: string | null;
  readonly releaseCounter: number | null;
  /** Limits in service, as `SlotLimits`; null for what an older agent installed. */
  readonly limitsJson: string | null;
}
export interface ModelRow {
  readonly name: string;
  readonly committedSlot: SlotName | null;
  readonly releaseCounterHighest: number;
}
export type AttemptOutcome = PayloadOf<"attempt-outcome">;
export interface AttemptRow {
  readonly id: string;
  readonly model: string;
  /** The signed manifest as it came. */
  readonly manifestJson: string;
  readonly state: string;
  readonly resumes: number;
  readonly steps: number;
  readonly gates: readonly GateResult[];
  readonly outcome: AttemptOutcome | null;
}

export interface HoldRow {
  /** `scopeKey` of the scope. */
  readonly scope: string;
  readonly sequence: number;
  readonly held: boolean;
  readonly reason: string;
  /** The signed document as it came. */
  readonly documentJson: string;
}

const gatesSchema = z.array(gateResultSchema);
/** What an attempt begins with, and most are read with. */
const noGates = "[]";

export type AgentStore = ReturnType<typeof openAgentStore>;

export function openAgentStore(sqlite: Sqlite) {
  migrateAgentDatabase(sqlite);
  const keyed = settings(sqlite);
  return {
    transaction: <T>(work: () => T): T => sqlite.transaction(work),
    close: () => sqlite.close(),
    ...keyed,
    ...measurements(sqlite, keyed),
    ...slots(sqlite),
    ...soakRows(sqlite),
    ...attempts(sqlite),
    ...holdRows(sqlite),
    ...trialRows(sqlite),
    ...transfers(sqlite),
    ...outboxRows(sqlite),
  };
}

function settings(sqlite: Sqlite) {
  const get = sqlite.prepare("select value from settings where key = ?");
  const set = sqlite.prepare(
    "insert into settings (key, value) values (?, ?) on conflict (key) do update set value = excluded.value",
  );
  const setting = (key: string): string | undefined =>
    (get.get(key) as { value: string } | undefined)?.value;
  const setSetting = (key: string, value: string): void => {
    set.run(key, value);
  };
  return {
    setting,
    setSetting,
    /** Raises a persisted counter and answers the new value; durable before it is used. */
    nextNumber(key: string): number {
      return sqlite.transaction(() => {
        const next = Number(setting(key) ?? "0") + 1;
        setSetting(key, String(next));
        return next;
      });
    },
    removeSetting(key: string): void {
      sqlite.prepare("delete from settings where key = ?").run(key);
    },
  };
}

/** Of a bundle, or of what operators cost: whoever asks knows which. */
type MeasurementResult = PayloadOf<"measurement"> | PayloadOf<"cost-table">;

const measuringSchema = z.object({ id: z.string(), tries: z.int() });
const measuringKey = "measuring";

function measurements(sqlite: Sqlite, { setting, setSetting }: ReturnType<typeof settings>) {
  return {
    measurementDone: (id: string): boolean =>
      sqlite.prepare("select 1 from measurements where id = ?").get(id) !== undefined,
    /** Undefined for what was never done, and for what an older agent did. */
    measurementResult(id: string): MeasurementResult | undefined {
      const row = sqlite.prepare("select resultJson from measurements where id = ?").get(id) as
        | { resultJson: string | null }
        | undefined;
      return row?.resultJson == null ? undefined : JSON.parse(row.resultJson);
    },
    /** Counts a try before it begins, since it may take the process with it; answers its number. */
    beginMeasurement(id: string): number {
      const text = setting(measuringKey);
      const last = text === undefined ? undefined : measuringSchema.parse(JSON.parse(text));
      const tries = last?.id === id ? last.tries + 1 : 1;
      setSetting(measuringKey, JSON.stringify({ id, tries }));
      return tries;
    },
    finishMeasurement(result: MeasurementResult): void {
      sqlite
        .prepare("insert or ignore into measurements (id, resultJson) values (?, ?)")
        .run(result.measurement, JSON.stringify(result));
    },
    /** Forgets results that nobody asks for any more. */
    pruneMeasurements(keep: readonly string[]): void {
      sqlite
        .prepare("delete from measurements where id not in (select value from json_each(?))")
        .run(JSON.stringify(keep));
    },
  };
}

function slots(sqlite: Sqlite) {
  const ensureModel = (name: string): void => {
    sqlite
      .prepare(
        "insert or ignore into models (name, committedSlot, releaseCounterHighest) values (?, null, 0)",
      )
      .run(name);
    const addSlot = sqlite.prepare(
      "insert or ignore into slots (model, slot, status) values (?, ?, 'empty')",
    );
    for (const slot of ["a", "b"]) addSlot.run(name, slot);
  };
  const model = (name: string) =>
    sqlite.prepare("select * from models where name = ?").get(name) as ModelRow | undefined;
  const slot = (name: string, which: SlotName) =>
    sqlite.prepare("select * from slots where model = ? and slot = ?").get(name, which) as SlotRow;
  return {
    ensureModel,
    model,
    models: () => sqlite.prepare("select * from models order by name").all() as ModelRow[],
    slot,
    committedSlot(name: string): SlotRow | undefined {
      const committed = model(name)?.committedSlot;
      return committed == null ? undefined : slot(name, committed);
    },
    /** The slot that an update may write to. */
    spareSlot: (name: string): SlotName => (model(name)?.committedSlot === "a" ? "b" : "a"),
    markSlot(name: string, which: SlotName, row: Omit<SlotRow, "model" | "slot">): void {
      sqlite
        .prepare(
          `update slots set status = ?, bundleSha256 = ?, version = ?, recipe = ?,
             releaseCounter = ?, limitsJson = ? where model = ? and slot = ?`,
        )
        .run(
          row.status,
          row.bundleSha256,
          row.version,
          row.recipe,
          row.releaseCounter,
          row.limitsJson,
          name,
          which,
        );
    },
    commitSlot(name: string, which: SlotName): void {
      sqlite.prepare("update models set committedSlot = ? where name = ?").run(which, name);
    },
    raiseReleaseCounter(name: string, counter: number): void {
      sqlite
        .prepare(
          "update models set releaseCounterHighest = max(releaseCounterHighest, ?) where name = ?",
        )
        .run(counter, name);
    },
  };
}

function attempts(sqlite: Sqlite) {
  const parse = (row: unknown): AttemptRow => {
    const raw = row as Record<string, string | number | null>;
    return {
      id: String(raw["id"]),
      model: String(raw["model"]),
      manifestJson: String(raw["manifestJson"]),
      state: String(raw["state"]),
      resumes: Number(raw["resumes"]),
      steps: Number(raw["steps"]),
      gates:
        raw["gatesJson"] === noGates ? [] : gatesSchema.parse(JSON.parse(String(raw["gatesJson"]))),
      outcome:
        raw["outcomeJson"] === null
          ? null
          : (JSON.parse(String(raw["outcomeJson"])) as AttemptOutcome),
    };
  };
  return {
    attempt(id: string): AttemptRow | undefined {
      const row = sqlite.prepare("select * from attempts where id = ?").get(id);
      return row === undefined ? undefined : parse(row);
    },
    openAttempts: (): AttemptRow[] =>
      sqlite
        .prepare("select * from attempts where outcomeJson is null order by number")
        .all()
        .map(parse),
    addAttempt(row: { id: string; model: string; manifestJson: string; state: string }): void {
      sqlite
        .prepare(
          `insert into attempts (id, model, manifestJson, state, resumes, steps, gatesJson, number)
           values (?, ?, ?, ?, 0, 0, '[]', (select coalesce(max(number), 0) + 1 from attempts))`,
        )
        .run(row.id, row.model, row.manifestJson, row.state);
    },
    /** Another document of the same manifest, valid for longer. */
    renewAttempt(id: string, manifestJson: string): void {
      sqlite.prepare("update attempts set manifestJson = ? where id = ?").run(manifestJson, id);
    },
    saveAttempt(row: Pick<AttemptRow, "id" | "state" | "resumes" | "steps" | "gates">): void {
      sqlite
        .prepare(
          "update attempts set state = ?, resumes = ?, steps = ?, gatesJson = ? where id = ?",
        )
        .run(row.state, row.resumes, row.steps, JSON.stringify(row.gates), row.id);
    },
    /** How long an attempt has waited to be installed, by the monotonic clock. */
    waitedMs(id: string): number {
      const row = sqlite.prepare("select waitedMs from attempts where id = ?").get(id);
      return Number((row as { waitedMs: number } | undefined)?.waitedMs ?? 0);
    },
    saveWaitedMs(id: string, waitedMs: number): void {
      sqlite.prepare("update attempts set waitedMs = ? where id = ?").run(waitedMs, id);
    },
    /** Forgets all but the newest concluded attempts and those in `keep`. */
    pruneAttempts(keep: readonly string[], newest: number): void {
      sqlite
        .prepare(
          `delete from attempts where outcomeJson is not null
           and number <= (select coalesce(max(number), 0) from attempts) - ?
           and id not in (select value from json_each(?))`,
        )
        .run(newest, JSON.stringify(keep));
    },
    concludeAttempt(outcome: AttemptOutcome): void {
      sqlite
        .prepare(
          "update attempts set state = ?, outcomeJson = ? where id = ? and outcomeJson is null",
        )
        .run(outcome.outcome, JSON.stringify(outcome), outcome.attempt);
    },
  };
}

function holdRows(sqlite: Sqlite) {
  return {
    holds: (): HoldRow[] =>
      (sqlite.prepare("select * from holds order by scope desc").all() as HoldRow[]).map((row) => ({
        ...row,
        held: Number(row.held) === 1,
      })),
    saveHold(row: HoldRow): void {
      sqlite
        .prepare(
          `insert into holds (scope, sequence, held, reason, documentJson) values (?, ?, ?, ?, ?)
           on conflict (scope) do update set sequence = excluded.sequence, held = excluded.held,
             reason = excluded.reason, documentJson = excluded.documentJson`,
        )
        .run(row.scope, row.sequence, row.held ? 1 : 0, row.reason, row.documentJson);
    },
  };
}

function transfers(sqlite: Sqlite) {
  return {
    transfer: (sha256: string) =>
      sqlite.prepare("select totalBytes, present from transfers where sha256 = ?").get(sha256) as
        | { totalBytes: number; present: Uint8Array }
        | undefined,
    /** Called only after the blocks it names were fsynced. */
    saveTransfer(sha256: string, totalBytes: number, present: Uint8Array): void {
      sqlite
        .prepare(
          `insert into transfers (sha256, totalBytes, present) values (?, ?, ?)
           on conflict (sha256) do update set totalBytes = excluded.totalBytes, present = excluded.present`,
        )
        .run(sha256, totalBytes, present);
    },
    dropTransfer(sha256: string): void {
      sqlite.prepare("delete from transfers where sha256 = ?").run(sha256);
    },
  };
}

export interface OutboxRow {
  readonly boot: string;
  readonly sequence: number;
  readonly message: string;
  readonly bytes: Uint8Array;
}

function outboxRows(sqlite: Sqlite) {
  return {
    addOutboxRow(row: OutboxRow & { priority: number }): void {
      sqlite
        .prepare(
          `insert into outbox (boot, sequence, message, priority, bytes, number)
           values (?, ?, ?, ?, ?, (select coalesce(max(number), 0) + 1 from outbox))`,
        )
        .run(row.boot, row.sequence, row.message, row.priority, row.bytes);
    },
    outboxRows: (limit: number): OutboxRow[] =>
      sqlite
        .prepare(
          "select boot, sequence, message, bytes from outbox order by priority, number limit +?",
        )
        .all(limit) as OutboxRow[],
    outboxCount: (): number =>
      (sqlite.prepare("select count(*) as n from outbox").get() as { n: number }).n,
    outboxRowsOf: (message: string): OutboxRow[] =>
      sqlite
        .prepare(
          "select boot, sequence, message, bytes from outbox where message = +? order by number",
        )
        .all(message) as OutboxRow[],
    removeOutboxRow(boot: string, sequence: number): void {
      sqlite.prepare("delete from outbox where boot = ? and sequence = ?").run(boot, sequence);
    },
  };
}
