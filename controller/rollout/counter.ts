/**
 * Release counters of a model: they only rise, above everything that was ever given out and above
 * everything that any device reports. So a controller that was restored from yesterday's backup jumps
 * past its devices instead of sending them back.
 */
import type { Database } from "../storage/database.ts";

export async function drawReleaseCounter(trx: Database, model: string): Promise<number> {
  const row = await trx
    .insertInto("releaseCounters")
    .values({ model, counter: 1 })
    .onConflict((conflict) =>
      conflict
        .column("model")
        .doUpdateSet((eb) => ({ counter: eb("releaseCounters.counter", "+", 1) })),
    )
    .returning("counter")
    .executeTakeFirstOrThrow();
  return row.counter;
}

/** A device accepted this counter once: ours is never below it again. */
export async function learnReleaseCounter(
  trx: Database,
  model: string,
  counter: number,
): Promise<void> {
  if (counter === 0) return;
  await trx
    .insertInto("releaseCounters")
    .values({ model, counter })
    .onConflict((conflict) =>
      conflict
        .column("model")
        .doUpdateSet({ counter })
        .where("releaseCounters.counter", "<", counter),
    )
    .execute();
}
