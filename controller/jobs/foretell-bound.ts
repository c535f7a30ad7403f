/** How much of a variant's accuracy on other processors is foretold; its defaults are here alone. */
import { z } from "zod";

/** Of each variant and kind of processor, whichever ends first. */
export const foretellBoundSchema = z.object({
  /** The emulation is two to three orders slower than the runtime. 0 for no foretelling. */
  samplesMax: z.int().min(0).max(100_000).default(200),
  timeMaxMs: z.int().min(100).max(3_600_000).default(10_000),
});
export type ForetellBound = z.infer<typeof foretellBoundSchema>;
