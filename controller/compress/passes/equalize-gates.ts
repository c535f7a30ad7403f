/**
 * Gated equalization: scales channels through x · g(x), where cross-layer equalization has to stop. In
 * SiLU and HardSwish networks a few channels set the range of a whole activation, and the depthwise
 * convolution behind it multiplies their weak neighbours up again: int8 leaves those nothing.
 *
 * 1. W·x + b → SiLU, HardSwish (each of its forms), GELU → any reader: channel c is divided by s_c, the
 *    gate reads it times s_c (one Mul), the reader's column is multiplied by s_c.
 * 2. Squeeze and excite: the average is read by a convolution, whose columns take the factors; its gate
 *    [N, C, 1, 1] has none.
 *
 * Factors are multiples, up to 255, of the smallest one, so that a quantizer which gives the Mul's constant
 * one 8-bit scale stores it without rounding.
 */
import { alphasDefault } from "../equalize/choose-factors.ts";
import { equalize } from "../equalize/equalize.ts";
import { definePass, noOptions, reorderTolerance } from "../pass.ts";

/** Codes of uint8 above 0. */
const codes = 255;

export const equalizeGates = definePass({
  name: "equalize-gates",
  summary: "Scales channels through SiLU and HardSwish gates; outputs stay the same.",
  options: noOptions,
  tolerance: reorderTolerance,
  needsSamples: true,
  run(context, model) {
    return equalize(context, model, {
      throughGates: true,
      ranges: "activations",
      accepts: ({ gates }) => gates.length > 0,
      alphas: alphasDefault,
      multipleMax: codes,
    });
  },
});
