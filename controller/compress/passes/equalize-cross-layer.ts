/**
 * Cross-layer equalization: scales channels between layers so that all of them use the range that int8
 * gives to the whole. The network computes what it did; only which numbers are large changes.
 *
 * 1. Between layers with constant weights, through Relu, pooling, residual sums and whatever else hands a
 *    factor on (`scale-flow.ts`), depthwise convolutions included.
 * 2. `ranges: activations`: factors by foretold noise of 8-bit activations and of weights with one scale
 *    per channel (`choose-factors.ts`).
 * 3. `ranges: weights`: factors that balance weights with one scale each, without data
 *    (`weight-balance.ts`).
 * 4. Clip(x, 0, b), such as Relu6, lets no factor pass. With `replaceClip` each one becomes Relu where
 *    accuracy on held-out samples stays what it was, which the declared tolerance then does not cover.
 *
 * Source: Nagel et al., Data-Free Quantization, ICCV 2019.
 */
import { z } from "zod";
import { alphasDefault } from "../equalize/choose-factors.ts";
import { equalize } from "../equalize/equalize.ts";
import { replaceClips } from "../equalize/replace-clips.ts";
import { definePass, reorderTolerance } from "../pass.ts";

const options = z.strictObject({
  ranges: z.enum(["activations", "weights"]).default("activations"),
  /** Try Relu in place of Clip(x, 0, b); needs held-out samples. */
  replaceClip: z.boolean().default(false),
});

export const equalizeCrossLayer = definePass({
  name: "equalize-cross-layer",
  summary:
    "Scales channels between layers so that all use the range of int8; outputs stay the same.",
  options,
  tolerance: reorderTolerance,
  needsSamples: true,
  async run(context, model, { ranges, replaceClip }) {
    const replacedClips = replaceClip ? await replaceClips(context, model) : 0;
    const result = await equalize(context, model, {
      throughGates: false,
      ranges,
      accepts: ({ isNormalised }) => !isNormalised,
      alphas: alphasDefault,
    });
    return {
      modified: result.modified || replacedClips > 0,
      report: { ...result.report, replacedClips },
    };
  },
});
