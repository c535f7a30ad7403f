/** UTF-8 text to a fixed number of tokens. */
import type { InputStep } from "../../artifact/bundle.ts";
import { FleetError } from "../../errors.ts";
import type { Sample } from "./sample.ts";
import { textOf } from "./text.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Errors: `golden-mismatch` for a sample that is no text, `tokenizer-invalid`. */
export function tokenize(
  sample: Sample,
  { length, yields }: Extract<InputStep, { op: "tokenize" }>,
  tokenizer: Tokenizer,
): Sample {
  if (
    !(sample.data instanceof Uint8Array) ||
    sample.dtype !== "uint8" ||
    sample.shape.length !== 1
  ) {
    throw new FleetError(
      "golden-mismatch",
      "tokenize takes text, uint8 [bytes], and no step before it",
    );
  }
  const ids = tokenizer.ids(textOf(sample.data), length);
  const data = new BigInt64Array(length);
  const first = tokenizer.padsLeft ? length - ids.length : 0;
  if (yields === "ids") data.fill(BigInt(tokenizer.padId));
  for (const [at, id] of ids.entries()) data[first + at] = values[yields](id);
  return { dtype: "int64", shape: [length], data };
}

const values: Readonly<
  Record<Extract<InputStep, { op: "tokenize" }>["yields"], (id: number) => bigint>
> = {
  ids: BigInt,
  "attention-mask": () => 1n,
  "token-types": () => 0n,
};
