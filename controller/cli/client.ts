/**
 * A typed client of the HTTP API, made from the same route definitions as the server. Answers are
 * parsed, so a server of another version is noticed here and not in a table.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type RouteName, type Routes, routes } from "../../shared/api/registry.ts";
import { type AnyRoute, apiErrorSchema, routeUrl } from "../../shared/api/route.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { FleetError, isErrorCode } from "../../shared/errors.ts";
import type { CliIo } from "./io.ts";

/** Longest call, in ms: an import checks the whole model before it answers. */
const callTimeoutMs = 300_000;

export interface ConnectionFlags {
  readonly url?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly dataDir?: string | undefined;
}

export interface CallInput<Route extends AnyRoute> {
  readonly params?: z.input<Route["params"]>;
  readonly query?: z.input<Route["query"]>;
  readonly body?: z.input<Route["body"]>;
}

export interface Client {
  readonly call: <Name extends RouteName>(
    name: Name,
    input?: CallInput<Routes[Name]>,
  ) => Promise<z.output<Routes[Name]["answer"]>>;
  /** Stores bytes under their hash and answers it. */
  readonly upload: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
}

/** The folder of a controller on this machine, unless flags or environment say otherwise. */
export const dataDirDefault = "fleetfit-data";

const endpointSchema = z.object({ httpUrl: z.string() });

/**
 * Where the controller is and with which token: flags first, then FLEETFIT_URL and FLEETFIT_TOKEN, then
 * what a controller on this machine left in its data folder. Errors: `api-unreachable`, `unauthorized`.
 */
export function connect(io: CliIo, flags: ConnectionFlags): Client {
  const dataDir = flags.dataDir ?? io.env["FLEETFIT_DATA_DIR"] ?? dataDirDefault;
  const url = flags.url ?? io.env["FLEETFIT_URL"] ?? localUrl(dataDir);
  const token = tokenOf(io, flags, dataDir);
  return clientOf(url.replace(/\/+$/, ""), token);
}

function localUrl(dataDir: string): string {
  const path = join(dataDir, "controller.json");
  try {
    return endpointSchema.parse(JSON.parse(readFileSync(path, "utf8"))).httpUrl;
  } catch (cause) {
    throw new FleetError(
      "api-unreachable",
      `no controller was named and ${path} does not say where one is`,
      { cause },
    );
  }
}

function tokenOf(io: CliIo, flags: ConnectionFlags, dataDir: string): string {
  const fromEnvironment = io.env["FLEETFIT_TOKEN"];
  if (flags.tokenFile === undefined && fromEnvironment !== undefined) return fromEnvironment;
  const path = flags.tokenFile ?? join(dataDir, "admin-token");
  try {
    return readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new FleetError("unauthorized", `there is no token in ${path}`, { cause });
  }
}

function clientOf(url: string, token: string): Client {
  const send = async (
    route: AnyRoute,
    path: string,
    body: { type: string; content: string | Uint8Array<ArrayBuffer> } | undefined,
  ): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, {
      method: route.method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": body.type }),
      },
      body: body?.content ?? null,
      signal: AbortSignal.timeout(callTimeoutMs),
    }).catch((cause: unknown) => {
      throw new FleetError("api-unreachable", `no controller answers at ${url}`, { cause });
    });
    const answer = await jsonOf(response, url);
    if (!response.ok) throw failureOf(answer, response.status);
    return answer;
  };
  return {
    async call(name, input = {}) {
      const route: AnyRoute = routes[name];
      // Names like ".." would be taken for steps in the path and name another route.
      const params = route.params.safeParse(input.params ?? {});
      if (!params.success) {
        throw new FleetError("input-invalid", z.prettifyError(params.error), {
          cause: params.error,
        });
      }
      const path = routeUrl(
        route,
        input.params as Record<string, string> | undefined,
        input.query as Record<string, string> | undefined,
      );
      const content = JSON.stringify(input.body ?? {});
      const body = route.method === "GET" ? undefined : { type: "application/json", content };
      const answer = route.answer.safeParse(await send(route, path, body));
      if (!answer.success) {
        throw new FleetError(
          "internal",
          `${url} answers ${path} in a form that this program does not know; is it another version?`,
          { cause: answer.error },
        );
      }
      return answer.data as z.output<Routes[typeof name]["answer"]>;
    },
    async upload(bytes) {
      const sha256 = sha256Hex(bytes);
      const path = routeUrl(routes.putBlob, { sha256 });
      await send(routes.putBlob, path, { type: "application/octet-stream", content: bytes });
      return sha256;
    },
  };
}

async function jsonOf(response: Response, url: string): Promise<unknown> {
  try {
    return await response.json();
  } catch (cause) {
    throw new FleetError("api-unreachable", `what answers at ${url} is no Fleetfit controller`, {
      cause,
    });
  }
}

function failureOf(answer: unknown, status: number): FleetError {
  const parsed = apiErrorSchema.partial().safeParse(answer);
  const { code, message, details } = parsed.success ? parsed.data : {};
  if (code === undefined || !isErrorCode(code)) {
    return new FleetError("internal", `the controller answers with status ${status}`);
  }
  return new FleetError(code, message ?? code, details === undefined ? {} : { details });
}
