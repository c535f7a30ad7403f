/**
 * SmoothQuant: takes outliers out of the activations behind a normalisation and puts them into the weights
 * that read them, s_j = max|X_j|^α / max|W_j|^(1−α).
 *
 * 1. LayerNormalization, or its last Mul and Add in a decomposed form: scale and bias [C] are divided by s,
 *    the rows of every MatMul or Gemm behind it multiplied.
 * 2. Nothing else: a Mul that cannot be folded would cost more than it brings, so that value is left.
 *
 * α is chosen for each normalisation by the noise foretold for the quantized layers that read it.
 *
 * Source: Xiao et al., SmoothQuant, ICML 2023, eq. 3 and 4.
 */
import { z } from "zod";
import { equalize } from "../equalize/equalize.ts";
import { definePass, reorderTolerance } from "../pass.ts";

const options = z.strictObject({
  alphas: z
    .array(z.number().min(0).max(1))
    .min(1)
    .max(32)
    .default([0.15, 0.25, 0.35, 0.45, 0.5, 0.55, 0.65, 0.75, 0.85, 0.95]),
});

export const smoothQuant = definePass({
  name: "smooth-quant",
  summary:
    "Moves outliers of activations behind a normalisation into weights; outputs stay the same.",
  options,
  tolerance: reorderTolerance,
  needsSamples: true,
  run(context, model, { alphas }) {
    return equalize(context, model, {
      throughGates: false,
      ranges: "activations",
      accepts: ({ isNormalised }) => isNormalised,
      alphas,
    });
  },
});
