/** Claims and devices. */
import { z } from "zod";
import type { DeviceCostsAnswer, deviceRoutes } from "../../../shared/api/routes/devices.ts";
import { attemptSchema } from "../../../shared/api/routes/rollouts.ts";
import { profileFingerprint } from "../../../shared/devices/profile.ts";
import { channelSteps } from "../../compress/cost/channel-steps.ts";
import type { ControllerContext } from "../../context.ts";
import { explainClasses } from "../../fleet/classes.ts";
import { getDevice, listDevices, retireDevice } from "../../fleet/devices.ts";
import { costsOf, orderCosts } from "../../measure/costs.ts";
import { attemptsOfDevice } from "../../rollout/views.ts";
import { createClaim } from "../../trust/claims.ts";
import type { Handlers } from "./handler.ts";

export const deviceHandlers: Handlers<keyof typeof deviceRoutes> = {
  createClaim: ({ ctx }, { body }) => createClaim(ctx, body),
  async listDevices({ ctx }, { query }) {
    const all = await listDevices(ctx);
    const online = query.online === undefined ? undefined : query.online === "true";
    return {
      devices: all.filter(
        (device) =>
          (query.class === undefined || device.deviceClass === query.class) &&
          (query.region === undefined || device.region === query.region) &&
          (online === undefined || device.online === online),
      ),
    };
  },
  async getDevice({ ctx }, { params }) {
    const device = await getDevice(ctx, params.device);
    return { ...device, classes: explainClasses(device, ctx.fleet.classes) };
  },
  retireDevice: ({ ctx }, { params, body }) => retireDevice(ctx, params.device, body.reason),
  getDeviceCosts: ({ ctx }, { params }) => costsAnswer(ctx, params.device),
  async orderDeviceCosts({ ctx }, { params }) {
    await orderCosts(ctx, params.device);
    return costsAnswer(ctx, params.device);
  },
  async listDeviceAttempts({ ctx }, { params }) {
    await getDevice(ctx, params.device);
    return { attempts: z.array(attemptSchema).parse(await attemptsOfDevice(ctx, params.device)) };
  },
};

async function costsAnswer(ctx: ControllerContext, device: string): Promise<DeviceCostsAnswer> {
  const { id, profile } = await getDevice(ctx, device);
  const { architecture, isa, cpuModel } = profile;
  const costs = await costsOf(ctx, { id, fingerprint: profileFingerprint(profile) });
  const steps = costs.measured === null ? null : (channelSteps(costs.measured.table) ?? null);
  return { device: id, processor: { architecture, isa, cpuModel }, ...costs, steps };
}
