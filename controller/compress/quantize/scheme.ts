/**
 * Which integers a static scheme stores: uint8 or int8 activations times int8 or uint8 weights. x86
 * multiplies U8S8 fastest, Arm S8S8; U8U8 is what x86 without VNNI computes without saturating.
 *
 * Weight codes are kept centred (their zero point taken off) until they are written, so that
 * strategies see the same integers whatever type is stored.
 */
import { z } from "zod";
import {
  type ActivationFormat,
  type Range,
  rangeOf,
  roundHalfEven,
  scaleAndZeroPoint,
  weightCodes,
} from "./scale.ts";

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

export function activationFormat(scheme: Scheme): ActivationFormat {
  const symmetric = scheme.symmetricActivations;
  if (scheme.activations === "uint8") {
    return { type: "uint8", codes: { min: 0, max: 255 }, symmetric };
  }
  return { type: "int8", codes: { min: symmetric ? -127 : -128, max: 127 }, symmetric };
}

/** How a weight is stored: its code is the centred one plus the zero point. */
export interface WeightFormat {
  readonly type: "int8" | "uint8";
  /** One for all channels, since QLinearConv takes no other. */
  readonly zeroPoint: number;
  /** Centred codes, both ends included. */
  readonly codes: Range;
  /** False when the zero point was chosen for the values. */
  readonly symmetric: boolean;
}

/**
 * int8 is symmetric; uint8 is symmetric per channel and else asymmetric. values: the whole weight.
 * Source: onnxruntime 1.30, quantization/qdq_quantizer.py, _calc_initializer_quant_params.
 */
export function weightFormat(
  { weights, reduceRange }: Scheme,
  perChannel: boolean,
  values: Float32Array,
): WeightFormat {
  if (weights === "int8") {
    return { type: "int8", zeroPoint: 0, codes: weightCodes(reduceRange), symmetric: true };
  }
  const stored = { min: 0, max: reduceRange ? 127 : 255 };
  const symmetric = perChannel;
  const zeroPoint = symmetric
    ? roundHalfEven(stored.max / 2)
    : scaleAndZeroPoint(rangeOf(values), stored, false).zeroPoint;
  const codes = { min: -zeroPoint, max: stored.max - zeroPoint };
  return { type: "uint8", zeroPoint, codes, symmetric };
}
