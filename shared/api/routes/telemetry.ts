/** How models do in the field. */
import { z } from "zod";
import { modelNameSchema } from "../../artifact/names.ts";
import { defineRoute } from "../route.ts";

const regionSummarySchema = z
  .object({
    region: z.string(),
    /** Devices that sent a window. */
    devices: z.int(),
    inferences: z.int(),
    errorFraction: z.number().nullable(),
    latencyP50Ms: z.number().nullable(),
    latencyP90Ms: z.number().nullable(),
    /** Bundles that answered there. */
    bundles: z.array(z.string()),
  })
  .meta({ id: "RegionTelemetry" });

const deviceSummarySchema = z
  .object({
    device: z.string(),
    inferences: z.int(),
    errorFraction: z.number().nullable(),
    latencyP50Ms: z.number().nullable(),
  })
  .meta({ id: "DeviceTelemetry" });

const query = z.object({ model: modelNameSchema });

export const telemetryRoutes = {
  regionTelemetry: defineRoute({
    method: "GET",
    path: "/v1/telemetry/regions",
    summary: "Latency and share of errors per region, by the region that a device was in then.",
    tag: "telemetry",
    query,
    answer: z.object({ regions: z.array(regionSummarySchema) }),
  }),
  deviceTelemetry: defineRoute({
    method: "GET",
    path: "/v1/telemetry/devices",
    summary: "Latency and share of errors per device.",
    tag: "telemetry",
    query,
    answer: z.object({ devices: z.array(deviceSummarySchema) }),
  }),
};
