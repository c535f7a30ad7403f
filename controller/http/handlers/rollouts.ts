/** Rollouts. */
import { z } from "zod";
import { type rolloutRoutes, rolloutSchema } from "../../../shared/api/routes/rollouts.ts";
import { listRollouts, showRollout, startRollout, steerRollout } from "../../rollout/service.ts";
import type { Handlers } from "./handler.ts";

const summaries = z.array(rolloutSchema.omit({ attempts: true }));

export const rolloutHandlers: Handlers<keyof typeof rolloutRoutes> = {
  async startRollout({ ctx }, { body }) {
    return rolloutSchema.parse(await startRollout(ctx, body));
  },
  async listRollouts({ ctx }) {
    return { rollouts: summaries.parse(await listRollouts(ctx)) };
  },
  async getRollout({ ctx }, { params }) {
    return rolloutSchema.parse(await showRollout(ctx, params.rollout));
  },
  async pauseRollout({ ctx }, { params, body }) {
    return rolloutSchema.parse(await steerRollout(ctx, params.rollout, "pause", body.reason));
  },
  async resumeRollout({ ctx }, { params, body }) {
    return rolloutSchema.parse(await steerRollout(ctx, params.rollout, "resume", body.reason));
  },
  async abortRollout({ ctx }, { params, body }) {
    return rolloutSchema.parse(await steerRollout(ctx, params.rollout, "abort", body.reason));
  },
};
