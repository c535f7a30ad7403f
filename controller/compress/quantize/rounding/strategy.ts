/**
 * How a layer's weights become integers once their scales are known: a named strategy with checked
 * options.
 */
import { z } from "zod";
import type { MatrixProducts } from "../matrix-products.ts";
import type { Range } from "../scale.ts";
import type { Gram, WeightRows } from "../weight-rows.ts";

export interface RoundingRequest {
  readonly rows: WeightRows;
  /** float32, one per row or one for all. */
  readonly scales: Float32Array;
  /** Centred codes to use, both ends included. */
  readonly codes: Range;
  /** Absent where no strategy asked for it or the layer is too large: then round to nearest. */
  readonly evidence?: LayerEvidence | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What calibration data say of a layer, and where to compute with it. */
export interface LayerEvidence {
  readonly gram: Gram;
  readonly products: MatrixProducts;
}

/** A strategy with its options filled in. */
export interface Rounding {
  readonly strategy: string;
  readonly needsGram: boolean;
  /** Centred codes [channels, length] in the order of the rows. */
  readonly round: (request: RoundingRequest) => Int16Array | Promise<Int16Array>;
}

/** A zod schema that reads `{ strategy: name, …options }` and yields the bound strategy. */
export function defineRounding<N extends string, S extends z.ZodRawShape>(definition: {
  readonly name: N;
  readonly options: S;
  readonly needsGram?: boolean;
  readonly round: (
    request: RoundingRequest,
    options: z.output<z.ZodObject<S>>,
  ) => Int16Array | Promise<Int16Array>;
}) {
  const { name, needsGram = false } = definition;
  return z.strictObject({ strategy: z.literal(name), ...definition.options }).transform(
    (options): Rounding => ({
      strategy: name,
      needsGram,
      round: (request) => definition.round(request, options as unknown as z.output<z.ZodObject<S>>),
    }),
  );
}
