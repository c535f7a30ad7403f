/** Every hold and release that concerns a device: sent when one changes and again on each birth. */
import { z } from "zod";
import { signedSchema } from "../../artifact/signature.ts";
import { defineMessage } from "../message.ts";

/** The tenant's and the region's, and as many again for scopes to come. */
export const holdsMax = 4;

export const hold = defineMessage({
  name: "hold",
  version: 1,
  direction: "down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 16_384,
  /** Each one `fleetfit/hold/1`, unverified. */
  schema: z.object({ holds: z.array(signedSchema).max(holdsMax) }),
});
