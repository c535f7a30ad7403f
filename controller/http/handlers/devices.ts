/** Claims and devices. */
import { z } from "zod";
import type { deviceRoutes } from "../../../shared/api/routes/devices.ts";
import { attemptSchema } from "../../../shared/api/routes/rollouts.ts";
import { explainClasses } from "../../fleet/classes.ts";
import { getDevice, listDevices, retireDevice } from "../../fleet/devices.ts";
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
  async listDeviceAttempts({ ctx }, { params }) {
    await getDevice(ctx, params.device);
    return { attempts: z.array(attemptSchema).parse(await attemptsOfDevice(ctx, params.device)) };
  },
};
