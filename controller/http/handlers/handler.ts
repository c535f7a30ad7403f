/** What the handler of a route is: parsed request in, the contract's answer out. */
import type { z } from "zod";
import type { RouteName, Routes } from "../../../shared/api/registry.ts";
import type { RequestOf } from "../../../shared/api/route.ts";
import type { Services } from "../services.ts";

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/** Who asks: the name of the token. */
export interface Caller {
  readonly name: string;
}

/** One handler per named route; a missing one does not compile. */
export type Handlers<Names extends RouteName> = {
  readonly [Name in Names]: (
    services: Services,
    request: RequestOf<Routes[Name]>,
    caller: Caller,
  ) => Promise<DeepReadonly<z.input<Routes[Name]["answer"]>>>;
};
