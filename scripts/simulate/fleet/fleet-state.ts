/**
 * Many devices out of one: the start state's device is copied under other names, on its own disk and
 * database and in the controller's, so that a seed begins with a whole fleet on the first version.
 */
import type { ControllerContext } from "../../../controller/context.ts";
import { signDocument } from "../../../shared/artifact/signature.ts";
import { openImage } from "../world/databases.ts";
import { copyStorage, createMachine, type Storage } from "../world/machine.ts";
import { deviceDir, startController } from "../world/programs.ts";
import { deviceName, newWorld, type StartState } from "../world/start-state.ts";

export interface FleetState {
  readonly start: StartState;
  readonly controller: Storage;
  readonly devices: ReadonlyMap<string, Storage>;
}

const agentPath = `${deviceDir}/agent.db`;
/** Rows of the controller that name one device; its membership too, or it would be offered version 1 again. */
const copiedTables = [
  "devices",
  "devicePlacements",
  "rolloutMembers",
  "attempts",
  "desiredModels",
] as const;
/** Columns of the agent's database that name the device. */
const named = { settings: ["value"], attempts: ["id", "manifestJson", "outcomeJson"] } as const;

export async function makeFleetState(start: StartState, count: number): Promise<FleetState> {
  const world = newWorld(1, start.atMs);
  const storage = copyStorage(start.controller);
  const machine = createMachine(world, { name: "controller", storage });
  const ctx = await startController(world, machine);
  const devices = new Map<string, Storage>([[deviceName, start.device]]);
  for (let number = 2; number <= count; number++) {
    const id = `device-${number}`;
    await copyRows(ctx, id);
    devices.set(id, renamed(start.device, id));
  }
  return { start, controller: copyStorage(machine.storage()), devices };
}

function renamed(storage: Storage, id: string): Storage {
  const { disk, images } = copyStorage(storage);
  const database = openImage(images.get(agentPath));
  for (const [table, columns] of Object.entries(named)) {
    for (const column of columns) {
      database
        .prepare(`update ${table} set ${column} = replace(${column}, ?, ?)`)
        .run(deviceName, id);
    }
  }
  images.set(agentPath, database.serialize());
  database.close();
  return { disk, images };
}

/** The controller's rows of the device, under another name and signed again. */
async function copyRows({ db, signingKey }: ControllerContext, id: string): Promise<void> {
  const rename = <Row extends object>(row: Row): Row =>
    Object.fromEntries(
      Object.entries(row).map(([column, value]) => [
        column,
        typeof value === "string" ? value.replaceAll(deviceName, id) : value,
      ]),
    ) as Row;
  for (const table of copiedTables) {
    const key = table === "devices" ? "id" : "device";
    const rows = await db
      .selectFrom(table)
      .selectAll()
      .where(key as never, "=", deviceName as never)
      .execute();
    for (const row of rows) {
      const copy = rename(row as Record<string, unknown>);
      const manifest = copy["manifestJson"];
      if (typeof manifest === "string") {
        const { signed } = JSON.parse(manifest) as { signed: Record<string, unknown> };
        copy["manifestJson"] = JSON.stringify(signDocument(signed, signingKey));
      }
      await db
        .insertInto(table)
        .values(copy as never)
        .execute();
    }
  }
}
