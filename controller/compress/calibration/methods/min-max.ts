/** The full range of what was seen: nothing saturates, and one outlier makes every step larger. */
import { z } from "zod";
import { defineMethod } from "../method.ts";

export const minMax = defineMethod({
  options: z.strictObject({ method: z.literal("min-max") }),
  needsHistogram: false,
  label: () => "min-max",
  range: ({ extremes }) => extremes.full,
});
