/** All strategies for weight scales. One line adds one. */
import { z } from "zod";
import { maxScale } from "./max.ts";
import { mseScale } from "./mse.ts";
import { pairAwareScale } from "./pair-aware.ts";

export const weightScaleOption = z.discriminatedUnion("strategy", [
  maxScale,
  mseScale,
  pairAwareScale,
]);
