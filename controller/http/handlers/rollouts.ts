/** Rollouts. */
import { z } from "zod";
import {
  type rolloutRoutes,
  rolloutSchema,
  rolloutSummarySchema,
} from "../../../shared/api/routes/rollouts.ts";
import type { ControllerContext } from "../../context.ts";
import { calibrationOf } from "../../rollout/calibration.ts";
import {
  approveRollout,
  rollBackRollout,
  startRollout,
  steerRollout,
} from "../../rollout/service.ts";
import { listRollouts, showRollout } from "../../rollout/views.ts";
import type { Caller, Handlers } from "./handler.ts";

type Steering = {
  readonly params: { readonly rollout: string };
  readonly body: { readonly reason?: string | undefined };
};

export const rolloutHandlers: Handlers<keyof typeof rolloutRoutes> = {
  async startRollout({ ctx }, { body }, { name }) {
    return rolloutSchema.parse(await startRollout(ctx, body, name));
  },
  async listRollouts({ ctx }) {
    return { rollouts: z.array(rolloutSummarySchema).parse(await listRollouts(ctx)) };
  },
  async getRollout({ ctx }, { params }) {
    return rolloutSchema.parse(await showRollout(ctx, params.rollout));
  },
  pauseRollout: ({ ctx }, request, caller) => steer(ctx, "pause", request, caller),
  resumeRollout: ({ ctx }, request, caller) => steer(ctx, "resume", request, caller),
  abortRollout: ({ ctx }, request, caller) => steer(ctx, "abort", request, caller),
  promoteRollout: ({ ctx }, request, caller) => steer(ctx, "promote", request, caller),
  async approveRollout({ ctx }, { params }, { name }) {
    return rolloutSchema.parse(await approveRollout(ctx, params.rollout, name));
  },
  async rollBackRollout({ ctx }, { params, body }, caller) {
    const order = { reason: reasonOf(body.reason, caller), by: caller.name };
    return rolloutSchema.parse(await rollBackRollout(ctx, params.rollout, order));
  },
  getCalibration: ({ ctx }) => calibrationOf(ctx),
};

async function steer(
  ctx: ControllerContext,
  order: Parameters<typeof steerRollout>[2],
  { params, body }: Steering,
  caller: Caller,
) {
  const reason = reasonOf(body.reason, caller);
  return rolloutSchema.parse(await steerRollout(ctx, params.rollout, order, reason));
}

function reasonOf(reason: string | undefined, { name }: Caller): string {
  return reason === undefined ? `by ${name}` : `${reason} (by ${name})`;
}
