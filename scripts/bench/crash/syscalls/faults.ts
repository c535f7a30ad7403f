/**
 * Faults that are planted into a recorded run, as if the agent had been written so. Each must be
 * caught, or the harness proves nothing.
 */
import type { DiskOperation } from "./trace.ts";

export interface PlantedFault {
  readonly name: string;
  readonly change: (operations: readonly DiskOperation[]) => DiskOperation[];
}

/** Syncs stay in their places, since later ones count operations, but make nothing durable. */
const withoutSyncs = (
  operations: readonly DiskOperation[],
  of: (path: string) => boolean,
): DiskOperation[] =>
  operations.map((operation) =>
    operation.kind === "sync" && of(operation.path) ? { ...operation, covers: 0 } : operation,
  );

const isDatabase = (path: string) => /\.(db|lock)(-wal)?$/.test(path);

export const plantedFaults: readonly PlantedFault[] = [
  { name: "nothing is synced", change: (operations) => withoutSyncs(operations, () => true) },
  {
    name: "the files of a slot are not synced",
    change: (operations) => withoutSyncs(operations, (path) => path !== "" && !isDatabase(path)),
  },
];
