/** Converts each element; integers out of range saturate, fractions round half to even. */
import type { Dtype } from "../../artifact/bundle.ts";
import { FleetError } from "../../errors.ts";
import type { Sample } from "./sample.ts";
import { typedOfLength } from "./typed-data.ts";

const integerRange: Partial<Record<Dtype, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
};

export function cast(sample: Sample, { to }: { to: Dtype }): Sample {
  if (to === "float16" || sample.dtype === "float16") {
    throw new FleetError("golden-mismatch", "half precision samples cannot be cast; store float32");
  }
  const target = typedOfLength(to, sample.data.length);
  const range = integerRange[to];
  for (let at = 0; at < target.length; at++) {
    const value = Number(sample.data[at]);
    if (to === "int64") (target as BigInt64Array)[at] = BigInt(roundHalfEven(value));
    else target[at] = range === undefined ? value : saturate(roundHalfEven(value), range);
  }
  return { dtype: to, shape: sample.shape, data: target };
}

function saturate(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(high, Math.max(low, value));
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
