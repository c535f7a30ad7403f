/** The shard of a device is looked up with every order: by its name, not among those of the whole fleet. */
import type { Migration } from "../migrate.ts";

export const migration0008: Migration = {
  number: 8,
  name: "shard-uses",
  async up(db) {
    await db.schema
      .createIndex("shardUsesDevice")
      .on("shardUses")
      .columns(["poolSha256", "device", "shardIndex"])
      .execute();
  },
};
