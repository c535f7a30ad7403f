/** Long work. */
import { z } from "zod";
import { type jobRoutes, jobSchema } from "../../../shared/api/routes/jobs.ts";
import type { Handlers } from "./handler.ts";

export const jobHandlers: Handlers<keyof typeof jobRoutes> = {
  async listJobs({ jobs }) {
    return { jobs: z.array(jobSchema).parse(await jobs.list()) };
  },
  async getJob({ jobs }, { params }) {
    return jobSchema.parse(await jobs.get(params.job));
  },
  async cancelJob({ jobs }, { params }) {
    return jobSchema.parse(await jobs.cancel(params.job));
  },
};
