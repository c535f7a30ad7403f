/** Health and the record of what happened. */
import type { statusRoutes } from "../../../shared/api/routes/status.ts";
import type { Database } from "../../storage/database.ts";
import { listEvents } from "../../storage/events/repository.ts";
import type { Handlers } from "./handler.ts";

export const statusHandlers: Handlers<keyof typeof statusRoutes> = {
  async getStatus({ ctx }) {
    return {
      tenant: ctx.config.tenant,
      mqttUrl: ctx.mqttUrl,
      nowMs: ctx.clock.wallMs(),
      ...(await countAll(ctx.db)),
    };
  },
  async listEvents({ ctx }, { query }) {
    const events = await listEvents(ctx.db, { subject: query.subject, limit: query.limit });
    return {
      events: events.map(({ dataJson, ...event }) => ({ ...event, data: JSON.parse(dataJson) })),
    };
  },
};

async function countAll(db: Database) {
  const devices = await db
    .selectFrom("devices")
    .select((eb) => [eb.fn.countAll<number>().as("total"), eb.fn.sum("online").as("online")])
    .where("standing", "!=", "retired")
    .executeTakeFirstOrThrow();
  const jobs = await db
    .selectFrom("jobs")
    .select((eb) => ["status", eb.fn.countAll<number>().as("count")])
    .groupBy("status")
    .execute();
  const rollouts = await db
    .selectFrom("rollouts")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("status", "=", "running")
    .executeTakeFirstOrThrow();
  const jobsOf = (status: string) => Number(jobs.find((row) => row.status === status)?.count ?? 0);
  return {
    devices: { total: Number(devices.total), online: Number(devices.online ?? 0) },
    jobs: { queued: jobsOf("queued"), running: jobsOf("running") },
    rollouts: { running: Number(rollouts.count) },
  };
}
