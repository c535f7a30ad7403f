/** How models do in the field. */
import type { telemetryRoutes } from "../../../shared/api/routes/telemetry.ts";
import { deviceSummaries, regionSummaries } from "../../telemetry/summary.ts";
import type { Handlers } from "./handler.ts";

export const telemetryHandlers: Handlers<keyof typeof telemetryRoutes> = {
  async regionTelemetry({ ctx }, { query }) {
    return { regions: await regionSummaries(ctx, query) };
  },
  async deviceTelemetry({ ctx }, { query }) {
    return { devices: await deviceSummaries(ctx, query) };
  },
};
