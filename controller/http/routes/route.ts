/**
 * One route: its method, path, schemas and handler in one place, so that the API and its OpenAPI
 * description cannot differ.
 */
import type { z } from "zod";
import type { Services } from "../services.ts";

export interface Route<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  /** The JSON answer; status 200. */
  readonly answer: z.ZodType;
  handle(
    services: Services,
    input: { params: z.infer<Params>; query: z.infer<Query>; body: z.infer<Body> },
  ): Promise<unknown>;
}

// biome-ignore lint/suspicious/noExplicitAny: routes of all shapes share one list.
export type AnyRoute = Route<any, any, any>;

export function defineRoute<
  Params extends z.ZodType = z.ZodUndefined,
  Query extends z.ZodType = z.ZodUndefined,
  Body extends z.ZodType = z.ZodUndefined,
>(route: Route<Params, Query, Body>): AnyRoute {
  return route;
}
