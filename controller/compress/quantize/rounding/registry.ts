/** All ways of rounding weights. One line adds one. */
import { z } from "zod";
import { adaround } from "./adaround.ts";
import { errorFeedback } from "./error-feedback.ts";
import { nearest } from "./nearest.ts";

export const roundingOption = z.discriminatedUnion("strategy", [nearest, errorFeedback, adaround]);
