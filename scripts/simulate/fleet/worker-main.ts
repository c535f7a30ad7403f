/** A process that runs seeds one after the other: the parent sends each order and gets each result, over IPC. */
import { z } from "zod";
import { type FleetState, makeFleetState } from "./fleet-state.ts";
import { type MixName, mixes } from "./mixes.ts";
import { type OperatorName, operators } from "./operators.ts";
import { type ReleaseName, releases } from "./releases.ts";
import { runSeed } from "./run-seed.ts";
import { makeFleetStart } from "./start.ts";

const namesOf = <Name extends string>(table: Record<Name, unknown>) =>
  z.enum(Object.keys(table) as [Name, ...Name[]]);

const orderSchema = z.object({
  devices: z.int().min(1),
  seed: z.int(),
  mix: namesOf<MixName>(mixes),
  release: namesOf<ReleaseName>(releases),
  operator: namesOf<OperatorName>(operators),
});

/** The fleet of the last order: the next one is mostly of the same size, and two large ones need much memory. */
let fleet: FleetState | undefined;

process.on("message", async (message) => {
  const order = orderSchema.parse(message);
  if (fleet?.devices.size !== order.devices) {
    fleet = await makeFleetState(await makeFleetStart(order.devices), order.devices);
  }
  process.send?.(await runSeed(fleet, order));
});
