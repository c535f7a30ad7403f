/**
 * AdaRound: whether a weight is rounded up or down is learned from the layer's output. Layers without
 * a Gram matrix are rounded to nearest.
 */
import { z } from "zod";
import { learnRounding } from "../adaround.ts";
import { feedbackDefaults } from "../error-feedback.ts";
import { roundToNearest } from "./nearest.ts";
import { defineRounding } from "./strategy.ts";

export const adaround = defineRounding({
  name: "adaround",
  needsGram: true,
  options: {
    /** Limit of the steps; it ends early when all is decided. */
    iterations: z.int().min(1).max(100_000).default(1000),
    /** Weight of the term that drives each decision to up or down, against the error of nearest. */
    regularization: z.number().min(0).max(100).default(1),
    /** Share of the mean energy of the inputs that each input is given on top. */
    damping: z.number().min(1e-6).max(1).default(feedbackDefaults.damping),
    /** Limit of the sweeps that settle single weights afterwards. */
    sweepsMax: z.int().min(0).max(1000).default(feedbackDefaults.sweepsMax),
  },
  round(request, options) {
    const { evidence } = request;
    if (evidence === undefined) return roundToNearest(request);
    return learnRounding({ ...request, ...evidence }, options);
  },
});
