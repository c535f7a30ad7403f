/**
 * What one route of the HTTP API takes and answers. Server, command line and API description are all
 * made from these definitions, so they cannot drift apart.
 *
 * Invariants: paths are written as OpenAPI does (`/v1/models/{model}`); every answer is a JSON object,
 * never a bare list, so that fields can be added.
 */
import { z } from "zod";
import { type ErrorCode, errorFacts } from "../errors.ts";

export interface RouteDefinition<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Answer extends z.ZodType,
> {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: `/v1/${string}`;
  /** One sentence. */
  readonly summary: string;
  readonly tag: string;
  readonly params: Params;
  readonly query: Query;
  /** `z.undefined()` for routes without a body; `rawBody` for bytes. */
  readonly body: Body;
  readonly answer: Answer;
  /** Status of success: 200, or 201 when something was made. */
  readonly status: 200 | 201;
  /** Codes beyond those that every route may answer. */
  readonly errors: readonly ErrorCode[];
}

export type AnyRoute = RouteDefinition<z.ZodObject, z.ZodObject, z.ZodType, z.ZodType>;

/** What a handler is given: parsed parts of the request. */
export interface RequestOf<Route extends AnyRoute> {
  readonly params: z.output<Route["params"]>;
  readonly query: z.output<Route["query"]>;
  readonly body: z.output<Route["body"]>;
}

/** A request body of bytes, read as a stream. */
export const rawBody = z.custom<AsyncIterable<Uint8Array>>(
  (value) => typeof value === "object" && value !== null && Symbol.asyncIterator in value,
);

/** Codes that every route may answer. */
export const commonErrors = [
  "input-invalid",
  "json-invalid",
  "unauthorized",
  "too-large",
  "internal",
] as const satisfies readonly ErrorCode[];

const none = z.object({});

export function defineRoute<
  Params extends z.ZodObject = typeof none,
  Query extends z.ZodObject = typeof none,
  Body extends z.ZodType = z.ZodUndefined,
  Answer extends z.ZodType = z.ZodType,
>(definition: {
  method: "GET" | "POST" | "PUT";
  path: `/v1/${string}`;
  summary: string;
  tag: string;
  params?: Params;
  query?: Query;
  body?: Body;
  answer: Answer;
  status?: 200 | 201;
  errors?: readonly ErrorCode[];
}): RouteDefinition<Params, Query, Body, Answer> {
  return {
    method: definition.method,
    path: definition.path,
    summary: definition.summary,
    tag: definition.tag,
    params: definition.params ?? (none as unknown as Params),
    query: definition.query ?? (none as unknown as Query),
    body: definition.body ?? (z.undefined() as unknown as Body),
    answer: definition.answer,
    status: definition.status ?? 200,
    errors: definition.errors ?? [],
  };
}

const codes = Object.keys(errorFacts) as [ErrorCode, ...ErrorCode[]];

/** The body of every answer that is not a success. */
export const apiErrorSchema = z
  .object({
    code: z.enum(codes),
    message: z.string(),
    /** What to do next. */
    remedy: z.string(),
    /** True when the same call may succeed later. */
    retryable: z.boolean(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Error" });
export type ApiError = z.infer<typeof apiErrorSchema>;

/** The route's path with its parameters filled in and its query appended. */
export function routeUrl(
  route: AnyRoute,
  params: Readonly<Record<string, string>> = {},
  query: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? ""),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.size === 0 ? path : `${path}?${search}`;
}
