/**
 * Three faults that a careless program would have, planted from outside by ports that do less than
 * they should or do it in another order. Without a cut each of them goes unnoticed; the harness must
 * notice each by its own invariant.
 */
import type { AgentPorts } from "../../../../agent/context.ts";
import type { Files } from "../../../../shared/ports/files.ts";
import type { OpenSqlite, Sqlite } from "../../../../shared/ports/sqlite.ts";
import type { InvariantName } from "../../../simulate/checks/invariants.ts";

export interface PlantedFault {
  readonly name: string;
  /** The invariant that is there to catch it. */
  readonly caughtBy: InvariantName;
  readonly change: (ports: AgentPorts) => Partial<AgentPorts>;
}

export const plantedFaults: readonly PlantedFault[] = [
  {
    name: "no fsync",
    caughtBy: "slot-intact",
    change: ({ files }) => ({ files: withoutSync(files) }),
  },
  {
    name: "pointer moved before verify",
    caughtBy: "pointer-verified",
    change: ({ openSqlite }) => ({ openSqlite: pointerFirst(openSqlite) }),
  },
  {
    name: "outcome told before commit",
    caughtBy: "outcome-true",
    change: ({ openSqlite }) => ({ openSqlite: pointerLast(openSqlite) }),
  },
];

function withoutSync(files: Files): Files {
  return {
    ...files,
    syncDirectory: async () => {},
    async open(path, mode) {
      return { ...(await files.open(path, mode)), sync: async () => {} };
    },
  };
}

/** Calls `wrap` for each statement that writes `table`; it answers what is run instead. */
function intercept(
  sqlite: Sqlite,
  replace: (sql: string, parameters: unknown[], run: () => Ran) => Ran | undefined,
): Sqlite {
  return {
    ...sqlite,
    prepare(sql) {
      const statement = sqlite.prepare(sql);
      return {
        reader: statement.reader,
        get: (...parameters) => statement.get(...parameters),
        all: (...parameters) => statement.all(...parameters),
        iterate: (...parameters) => statement.iterate(...parameters),
        run(...parameters) {
          const run = () => statement.run(...parameters);
          return replace(sql.replaceAll(/\s+/g, " "), parameters, run) ?? run();
        },
      };
    },
  };
}

type Ran = ReturnType<ReturnType<Sqlite["prepare"]>["run"]>;
const nothing: Ran = { changes: 0, lastInsertRowid: 0 };
const movesPointer = (sql: string) => sql.startsWith("update models set committedSlot");
const marksSlot = (sql: string) => sql.startsWith("update slots set status");
const concludes = (sql: string) => /^update attempts set state = \?, outcomeJson/.test(sql);

/**
 * Moves the pointer when an installation begins and keeps that to itself: until the commit the program
 * reads the old pointer, and moves it back when the attempt ends another way.
 */
function pointerFirst(open: OpenSqlite): OpenSqlite {
  return (path) => {
    const sqlite = open(path);
    if (!path.endsWith("agent.db")) return sqlite;
    let hidden: { model: unknown; slot: unknown } | undefined;
    const point = (model: unknown, slot: unknown) =>
      sqlite.prepare("update models set committedSlot = ? where name = ?").run(slot, model);
    const read = (sql: string, row: unknown) =>
      hidden !== undefined && sql.startsWith("select * from models") && row !== undefined
        ? { ...(row as object), committedSlot: hidden.slot }
        : row;
    const wrapped = intercept(sqlite, (sql, parameters) => {
      if (marksSlot(sql)) {
        const [status, bundle] = parameters;
        const [model, slot] = parameters.slice(-2);
        if (status === "bad" && bundle !== null && hidden === undefined) {
          const before = sqlite
            .prepare("select committedSlot from models where name = ?")
            .get(model) as { committedSlot: unknown };
          point(model, slot);
          hidden = { model, slot: before.committedSlot };
        }
      }
      if (movesPointer(sql)) hidden = undefined;
      if (concludes(sql) && hidden !== undefined) {
        point(hidden.model, hidden.slot);
        hidden = undefined;
      }
      return undefined;
    });
    return {
      ...wrapped,
      prepare(sql) {
        const statement = wrapped.prepare(sql);
        return {
          ...statement,
          get: (...parameters) => read(sql, statement.get(...parameters)),
          all: (...parameters) => statement.all(...parameters).map((row) => read(sql, row)),
        };
      },
    };
  };
}

/** Takes the pointer out of the transaction of the outcome and moves it afterwards. */
function pointerLast(open: OpenSqlite): OpenSqlite {
  return (path) => {
    const sqlite = open(path);
    if (!path.endsWith("agent.db")) return sqlite;
    let late: (() => unknown)[] = [];
    const wrapped = intercept(sqlite, (sql, _parameters, run) => {
      if (!movesPointer(sql)) return undefined;
      late.push(run);
      return nothing;
    });
    return {
      ...wrapped,
      transaction(work) {
        const value = sqlite.transaction(work);
        const runs = late;
        late = [];
        for (const run of runs) run();
        return value;
      },
    };
  };
}
