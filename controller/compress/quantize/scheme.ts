/**
 * Which integers a static scheme stores: uint8 or int8 activations times int8 or uint8 weights. x86
 * multiplies U8S8 fastest, Arm S8S8; U8U8 is what x86 without VNNI computes without saturating.
 *
 * Weight codes are kept centred (their zero point taken off) until they are written, so that
 * strategies see the same integers whatever type is stored.
 */
import { z } from "zod";
import type { Range } from "./scale.ts";

export const schemeOptions = {
  /** Stored type of activations. */
  activations: z.enum(["uint8", "int8"]).default("uint8"),
  /** Zero point in the middle of the codes, as some accelerators ask for; costs a bit behind ReLU. */
  symmetricActivations: z.boolean().default(false),
  /** Stored type of weights; uint8 goes with uint8 activations only. */
  weights: z.enum(["int8", "uint8"]).default("int8"),
  /** One weight scale per output channel instead of one per weight. */
  perChannel: z.boolean().default(true),
  /** Weights of 7 bits, for x86 processors without VNNI, whose 16-bit sums would saturate. */
  reduceRange: z.boolean().default(false),
};

const schemeSchema = z.object(schemeOptions);

export type Scheme = z.output<typeof schemeSchema>;

/** What of a scheme no kernel of onnxruntime runs; undefined when all is well. */
export function unsupportedScheme(scheme: Scheme): string | undefined {
  return scheme.activations === "int8" && scheme.weights === "uint8"
    ? "no kernel multiplies int8 activations by uint8 weights: take int8 weights"
    : undefined;
}

/** How activations are stored. */
export interface ActivationFormat {
  readonly type: "uint8" | "int8";
  readonly codes: Range;
  readonly symmetric: boolean;
}

export function activationFormat(scheme: Scheme): ActivationFormat {
  const symmetric = scheme.symmetricActivations;
  if (scheme.activations === "uint8") {
    return { type: "uint8", codes: { min: 0, max: 255 }, symmetric };
  }
  return { type: "int8", codes: { min: symmetric ? -127 : -128, max: 127 }, symmetric };
}

/** How weights are stored: their code is the centred one plus the zero point. */
export interface WeightFormat {
  readonly type: "int8" | "uint8";
  readonly zeroPoint: number;
  /** Centred codes. */
  readonly codes: Range;
}

export function weightFormat(scheme: Scheme): WeightFormat {
  const bound = scheme.reduceRange ? 64 : 127;
  const codes = { min: -bound, max: bound };
  return { type: scheme.weights, zeroPoint: scheme.weights === "int8" ? 0 : 128, codes };
}
