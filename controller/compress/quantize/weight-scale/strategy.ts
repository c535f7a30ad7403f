/**
 * How the scales of a layer's weights are chosen: a named strategy with checked options, which turns
 * what is known of the layer into scales.
 */
import { z } from "zod";
import type { QuantizationParameters, Range } from "../scale.ts";
import type { Gram, WeightRows } from "../weight-rows.ts";

/** Which products a processor may add up in pairs before it widens the sum. */
export interface Pairing {
  /** A row is [input channels, kernelPositions]; products are made position by position. */
  readonly kernelPositions: number;
  /** What takes a stored code of the input to the unsigned one that is multiplied. */
  readonly codeShift: number;
}

export interface WeightScaleRequest {
  readonly rows: WeightRows;
  /** False asks for one scale for all rows. */
  readonly perChannel: boolean;
  /** Centred weight codes to use, both ends included. */
  readonly codes: Range;
  /** False when `codes` lie around 0 as the values do; then only the span counts. */
  readonly symmetric: boolean;
  /** Scale and zero point of the layer's input. */
  readonly input: QuantizationParameters;
  /** Stored codes of the input that calibration reaches. */
  readonly inputCodes: Range;
  /** Undefined where no two products are added up in fewer than 32 bits. */
  readonly pairing: Pairing | undefined;
  /** Absent where no strategy asked for it or the layer is too large. */
  readonly gram?: Gram | undefined;
}

/** A strategy with its options filled in. */
export interface WeightScale {
  readonly strategy: string;
  readonly needsGram: boolean;
  /** float32 scales, all above 0: one per row, or one for all. */
  readonly scales: (request: WeightScaleRequest) => Float32Array;
}

/** A zod schema that reads `{ strategy: name, …options }` and yields the bound strategy. */
export function defineWeightScale<N extends string, S extends z.ZodRawShape>(definition: {
  readonly name: N;
  readonly options: S;
  readonly needsGram?: boolean;
  readonly scales: (request: WeightScaleRequest, options: z.output<z.ZodObject<S>>) => Float32Array;
}) {
  const { name, needsGram = false } = definition;
  return z.strictObject({ strategy: z.literal(name), ...definition.options }).transform(
    (options): WeightScale => ({
      strategy: name,
      needsGram,
      scales: (request) =>
        definition.scales(request, options as unknown as z.output<z.ZodObject<S>>),
    }),
  );
}
