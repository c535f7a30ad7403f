/** A compressed file of either side, and the family in which it competes. */

/**
 * Integers of eight bits with one weight scale per channel or per tensor, ranges observed or dynamic; weights
 * alone in 8, 4 or 2 bits; half precision; or the model in float32.
 */
export const schemes = [
  ...["int8-channel", "int8-tensor", "int8-dynamic"],
  ...["w8", "w4", "w2", "fp16", "fp32"],
] as const;

export type Scheme =
  | "int8-channel"
  | "int8-tensor"
  | "int8-dynamic"
  | "w8"
  | "w4"
  | "w2"
  | "fp16"
  | "fp32";

export interface Variant {
  readonly name: string;
  readonly scheme: Scheme;
  readonly bytes: Uint8Array;
}
