/** What must hold of a whole fleet when everything is over: of each device, and of every attempt. */
import { sql } from "kysely";
import type { ControllerContext } from "../../../controller/context.ts";
import type { Version } from "../world/catalogue.ts";
import type { Machine } from "../world/machine.ts";
import type { InstallWatch } from "./installs.ts";
import { broken } from "./invariants.ts";
import type { Observation } from "./observation.ts";

export interface CheckedDevice {
  readonly machine: Machine;
  readonly atBoots: readonly Observation[];
  readonly installs: Pick<InstallWatch, "faults">;
  look(): Observation;
}

/** Offers that nobody answered and nobody took back. */
export async function openAtServer(ctx: ControllerContext): Promise<number> {
  const { count } = await ctx.db
    .selectFrom("attempts")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("outcome", "is", null)
    .where("status", "=", "offered")
    .executeTakeFirstOrThrow();
  return count;
}

export async function fleetFaults(
  ctx: ControllerContext,
  fleet: { versions: readonly Version[]; devices: readonly CheckedDevice[] },
): Promise<string[]> {
  const rows = await ctx.db
    .selectFrom("attempts")
    .select(["id", "device", "arm", "outcome", "releaseCounter"])
    .orderBy(sql`rowid`)
    .execute();
  const byDevice = Map.groupBy(rows, ({ device }) => device);
  const faults = await doubled(ctx);
  for (const { machine, atBoots, installs, look } of fleet.devices) {
    faults.push(...installs.faults);
    const atEnd = look();
    const own = byDevice.get(machine.name) ?? [];
    const lost = own.filter(({ id, outcome }) => outcome === null && atEnd.attempts.includes(id));
    faults.push(...lost.map(({ id }) => `${machine.name}: the server knows no outcome of ${id}`));
    // What it began with has no history here. Controls change nothing; what was taken back before the device heard of it has no outcome.
    const newest = own.findLast(
      ({ arm, outcome, releaseCounter }) =>
        releaseCounter > 1 && arm !== "control" && outcome !== null,
    );
    const found = await broken({
      ctx,
      device: machine.name,
      attempt: newest?.id,
      versions: fleet.versions,
      atBoots,
      atEnd,
      asked: undefined,
      endings: [],
    });
    for (const { invariant, what } of found) faults.push(`${machine.name}: ${invariant}: ${what}`);
  }
  return faults;
}

/** Attempts of which the server recorded more than one outcome. */
export async function doubled({ db }: ControllerContext): Promise<string[]> {
  const outcomes = await db
    .selectFrom("events")
    .select([sql<string>`json_extract("dataJson", '$.attempt')`.as("attempt"), "kind"])
    .where("kind", "like", "attempt-%")
    .where("kind", "!=", "attempt-retried")
    .execute();
  const known = Map.groupBy(outcomes, ({ attempt }) => attempt);
  return [...known]
    .filter(([, events]) => events.length > 1)
    .map(([attempt, events]) => `the server recorded ${events.length} outcomes of ${attempt}`);
}
