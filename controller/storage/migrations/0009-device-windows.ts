/** Whether a device spoke already is looked up with every window: by its name, not among the whole fleet's. */
import type { Migration } from "../migrate.ts";

export const migration0009: Migration = {
  number: 9,
  name: "device-windows",
  async up(db) {
    await db.schema
      .createIndex("telemetryWindowsDevice")
      .on("telemetryWindows")
      .columns(["device", "model", "receivedAtMs"])
      .execute();
  },
};
