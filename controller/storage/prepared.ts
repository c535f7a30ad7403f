/**
 * Statements that are built and compiled once, for what every message of a device asks for: kysely's
 * builder and compiler cost several times what a short statement takes to run (measured 2026-11 with the
 * simulator: a third of the controller's time).
 *
 * Invariant: what is built depends on the names of its arguments alone, never on their values.
 */
import { type Compilable, type CompiledQuery, Kysely, type QueryResult } from "kysely";
import type { Database } from "./database.ts";
import { PlannedOnceDialect } from "./dialect.ts";
import type { ControllerTables } from "./schema.ts";

type Value = string | number | null;

/** Stands for the value of an argument in what is built. */
class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Builds and compiles. Nothing is run on it, so it opens nothing. */
const builder: Database = new Kysely<ControllerTables>({
  dialect: new PlannedOnceDialect({
    database: () => Promise.reject(new Error("this database compiles and is never opened")),
  }),
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
