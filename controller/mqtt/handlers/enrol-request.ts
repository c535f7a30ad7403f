/** A claim holder asks for an identity. */

import { enrolDevice } from "../../fleet/enrol.ts";
import type { DirectHandler } from "./handler.ts";

export const onEnrolRequest: DirectHandler<"enrol-request"> = async (ctx, sender, request) => {
  await ctx.publish(
    "enrol-response",
    sender.device,
    await enrolDevice(ctx, sender.device, request),
  );
};
