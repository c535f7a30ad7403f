/** Long work: compression. */
import { z } from "zod";
import { nameSchema } from "../../artifact/names.ts";
import { defineRoute } from "../route.ts";

export const jobSchema = z
  .object({
    id: z.string(),
    kind: z.string(),
    status: z.enum(["queued", "running", "done", "failed", "cancelled"]),
    progressFraction: z.number().min(0).max(1),
    message: z.string(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    createdAtMs: z.int(),
    startedAtMs: z.int().nullable(),
    finishedAtMs: z.int().nullable(),
  })
  .meta({ id: "Job" });

const jobParams = z.object({ job: nameSchema });

export const jobRoutes = {
  listJobs: defineRoute({
    method: "GET",
    path: "/v1/jobs",
    summary: "Jobs, newest first.",
    tag: "jobs",
    answer: z.object({ jobs: z.array(jobSchema) }),
  }),
  getJob: defineRoute({
    method: "GET",
    path: "/v1/jobs/{job}",
    summary: "One job and how far it is.",
    tag: "jobs",
    params: jobParams,
    answer: jobSchema,
    errors: ["not-found"],
  }),
  cancelJob: defineRoute({
    method: "POST",
    path: "/v1/jobs/{job}/cancel",
    summary: "Ends a job; what it finished stays.",
    tag: "jobs",
    params: jobParams,
    body: z.object({}),
    answer: jobSchema,
    errors: ["not-found", "conflict"],
  }),
};
