/** One sample on its way from what a client sends to what a model takes; no batch axis. */
import type { Dtype } from "../../artifact/bundle.ts";
import type { TypedData } from "./typed-data.ts";

export interface Sample {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TypedData;
}
