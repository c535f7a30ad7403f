/**
 * Statements that are built and compiled once, for what every message of a device asks for: kysely's
 * builder and compiler cost several times what a short statement takes to run (measured 2026-11 with the
 * simulator: a third of the controller's time).
 *
 * Invariant: what is built depends on the names of its arguments alone, never on their values.
 */
import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import type { Database } from "./database.ts";
import type { ControllerTables } from "./schema.ts";

type Value = string | number | null;

/** Stands for the value of an argument in what is built. */
class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Builds and compiles, and reaches no database. */
const builder: Database = new Kysely<ControllerTables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** The statement that `build` makes, to be run with other arguments each time. */
export function prepared<Args extends Readonly<Record<string, Value>>, Row>(
  build: (db: Database, args: Args) => Compilable<Row>,
): (db: Database, args: Args) => Promise<QueryResult<Row>> {
  const names = new Proxy({}, { get: (_target, name) => new Placeholder(String(name)) });
  const template = build(builder, names as Args).compile();
  return (db, args) => {
    const parameters = template.parameters.map((value) =>
      value instanceof Placeholder ? args[value.name] : value,
    );
    const query: CompiledQuery<Row> = { ...template, parameters };
    return db.getExecutor().provideConnection((connection) => connection.executeQuery(query));
  };
}
