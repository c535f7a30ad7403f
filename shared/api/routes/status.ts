/** Health, and the record of what happened. */
import { z } from "zod";
import { defineRoute } from "../route.ts";

const eventSchema = z
  .object({
    id: z.int(),
    atMs: z.int(),
    kind: z.string(),
    subject: z.string(),
    message: z.string(),
    data: z.unknown(),
  })
  .meta({ id: "Event" });

export const statusRoutes = {
  getStatus: defineRoute({
    method: "GET",
    path: "/v1/status",
    summary: "Health of the controller and where devices reach it.",
    tag: "status",
    answer: z
      .object({
        tenant: z.string(),
        mqttUrl: z.string(),
        /** The controller's clock. */
        nowMs: z.int(),
        devices: z.object({ total: z.int(), online: z.int() }),
        jobs: z.object({ queued: z.int(), running: z.int() }),
        rollouts: z.object({ running: z.int() }),
      })
      .meta({ id: "Status" }),
  }),
  listEvents: defineRoute({
    method: "GET",
    path: "/v1/events",
    summary: "What happened and why, newest first.",
    tag: "status",
    query: z.object({
      /** A device, model, class, claim or rollout. */
      subject: z.string().max(128).optional(),
      limit: z.coerce.number().int().min(1).max(1_000).default(100),
    }),
    answer: z.object({ events: z.array(eventSchema) }),
  }),
};
