/** Where the agent keeps its files, below its data folder. */
import { join } from "node:path";
import type { SlotName } from "./state/store.ts";

export const databasePath = (dataDir: string) => join(dataDir, "agent.db");
export const servingPath = (dataDir: string) => join(dataDir, "serving.json");
export const lockPath = (dataDir: string) => join(dataDir, "agent.lock");
/** Verified artifacts by hash: golden shards, references, files on their way to a slot. */
export const storeDir = (dataDir: string) => join(dataDir, "store");
export const storedPath = (dataDir: string, sha256: string) => join(storeDir(dataDir), sha256);
/** Artifacts that are still coming. */
export const transferDir = (dataDir: string) => join(dataDir, "transfer");
export const partPath = (dataDir: string, sha256: string) => join(transferDir(dataDir), sha256);
export const slotDir = (dataDir: string, model: string, slot: SlotName) =>
  join(dataDir, "models", model, slot);
