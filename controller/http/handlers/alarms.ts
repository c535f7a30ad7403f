/** Alarms after a rollout. */
import type { alarmRoutes } from "../../../shared/api/routes/alarms.ts";
import { alarmsOf } from "../../telemetry/watch.ts";
import type { Handlers } from "./handler.ts";

export const alarmHandlers: Handlers<keyof typeof alarmRoutes> = {
  async listAlarms({ ctx }) {
    return { alarms: await alarmsOf(ctx.db) };
  },
};
