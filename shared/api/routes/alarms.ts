/** Released bundles that have come to err more often than what ran before them. */
import { z } from "zod";
import { defineRoute } from "../route.ts";

const alarmSchema = z
  .object({
    rollout: z.string(),
    model: z.string(),
    version: z.string(),
    bundleSha256: z.string(),
    region: z.string(),
    /** Mean share of failed calls per window: since the rollout, before it, and what is borne. */
    share: z.number(),
    shareBefore: z.number(),
    shareMax: z.number(),
    /** Windows until the alarm. */
    windows: z.int(),
    alarmedAtMs: z.int(),
    message: z.string(),
  })
  .meta({ id: "Alarm" });
export type AlarmAnswer = z.infer<typeof alarmSchema>;

export const alarmRoutes = {
  listAlarms: defineRoute({
    method: "GET",
    path: "/v1/alarms",
    summary:
      "Regressions suspected after a rollout was completed, newest first. They stop nothing.",
    tag: "telemetry",
    answer: z.object({ alarms: z.array(alarmSchema) }),
  }),
};
