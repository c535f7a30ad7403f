/**
 * GPTQ's rounding: what one weight loses is made good by the weights after it. Layers without a Gram
 * matrix are rounded to nearest.
 */
import { z } from "zod";
import { feedbackDefaults, roundWithFeedback } from "../error-feedback.ts";
import { roundToNearest } from "./nearest.ts";
import { defineRounding } from "./strategy.ts";

export const errorFeedback = defineRounding({
  name: "error-feedback",
  needsGram: true,
  options: {
    /** Share of the mean energy of the inputs that each input is given on top. */
    damping: z.number().min(1e-6).max(1).default(feedbackDefaults.damping),
    /** Weights in the order in which they are stored, or those of the strongest inputs first. */
    order: z.enum(["stored", "activation"]).default(feedbackDefaults.order),
    /** Limit of the sweeps that settle single weights afterwards. */
    sweepsMax: z.int().min(0).max(1000).default(feedbackDefaults.sweepsMax),
  },
  round(request, options) {
    const { evidence } = request;
    if (evidence === undefined) return roundToNearest(request);
    return roundWithFeedback({ ...request, gram: evidence.gram }, options);
  },
});
