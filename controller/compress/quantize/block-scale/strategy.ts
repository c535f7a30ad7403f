/**
 * How the scale and zero point of a block of weights are chosen: a named strategy, which sees one block
 * at a time.
 */
import { z } from "zod";

export type CodeBits = 2 | 4 | 8;

export interface BlockFormat {
  readonly bits: CodeBits;
  /** Values per block. */
  readonly blockSize: number;
  /** True fixes all zero points at 2^(bits - 1). */
  readonly symmetric: boolean;
}

/** The scale and zero point of one block. */
export interface BlockParameters {
  /** float32, not 0. */
  readonly scale: number;
  readonly zeroPoint: number;
}

export interface BlockScale {
  readonly strategy: string;
  /** block: float32, at least one value. */
  readonly parameters: (block: Float32Array, format: BlockFormat) => BlockParameters;
}

/** A zod schema that reads `{ strategy: name }` and yields the strategy. */
export function defineBlockScale<N extends string>(definition: {
  readonly name: N;
  readonly parameters: BlockScale["parameters"];
}) {
  const { name, parameters } = definition;
  return z
    .strictObject({ strategy: z.literal(name) })
    .transform((): BlockScale => ({ strategy: name, parameters }));
}

/** A scale of zero would lose the sign of nothing but divide by it: an empty block gets 1. */
export function orOne(scale: number): number {
  return scale === 0 || !Number.isFinite(1 / scale) ? 1 : scale;
}
