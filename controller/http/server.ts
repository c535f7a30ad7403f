/**
 * The HTTP API: every route of the contract with its handler, and the description made from the same
 * definitions. All but the description needs the bearer token.
 *
 * Invariant: without a certificate nothing listens beyond loopback, since tokens would travel openly.
 */
import swagger from "@fastify/swagger";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { type RouteName, routes } from "../../shared/api/registry.ts";
import { type AnyRoute, type RequestOf, rawBody } from "../../shared/api/route.ts";
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { authorize, ensureAdminToken } from "./auth.ts";
import { sendError } from "./errors.ts";
import type { Caller } from "./handlers/handler.ts";
import { handlers } from "./handlers/registry.ts";
import { fastifySchema, openapiOptions, openapiPath } from "./openapi.ts";
import type { Services } from "./services.ts";

/** Longest JSON body, in bytes: an interface with 100,000 labels. */
const jsonBytesMax = 4_000_000;
const certificateBytesMax = 1_000_000;

export interface RunningHttp {
  readonly url: string;
  readonly stop: () => Promise<void>;
}

/** How the API is offered; the controller is given one. */
export type StartHttp = (
  services: Services,
  listen: { host: string; port: number },
) => Promise<RunningHttp>;

export const startHttp: StartHttp = async (services, listen) => {
  const { ctx } = services;
  await ensureAdminToken(ctx);
  const tls = await readCertificate(ctx);
  const options = {
    bodyLimit: jsonBytesMax,
    forceCloseConnections: true,
    // What the router refuses before any handler or hook is reached.
    frameworkErrors: (error: Error, _request: unknown, reply: unknown) => {
      sendError(ctx.log, reply as FastifyReply, badRequest(error));
    },
  };
  const server = (
    tls === undefined ? fastify(options) : fastify({ ...options, https: tls })
  ) as FastifyInstance;
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  server.setErrorHandler((error, _request, reply) => sendError(ctx.log, reply, error));
  server.setNotFoundHandler(({ method, url }, reply) =>
    sendError(ctx.log, reply, new FleetError("not-found", `there is no ${method} ${url}`)),
  );
  const callers: Callers = new WeakMap();
  server.addHook("onRequest", async (request) => {
    if (request.url === openapiPath) return;
    callers.set(request, { name: await authorize(ctx, request.headers.authorization) });
  });
  server.addContentTypeParser("application/octet-stream", (_request, payload, done) =>
    done(null, payload),
  );
  await server.register(swagger, openapiOptions);
  for (const name of Object.keys(routes) as RouteName[])
    addRoute(server, { services, callers }, name);
  server.get(openapiPath, { schema: { hide: true } as object }, async (_request, reply) =>
    reply.type("application/json").send(JSON.stringify(server.swagger())),
  );
  const host = tls === undefined ? loopback(ctx, listen.host) : listen.host;
  const url = await server.listen({ host, port: listen.port });
  return { url, stop: () => server.close() };
};

/** Who sent each request; filled before any handler runs. */
type Callers = WeakMap<FastifyRequest, Caller>;

function addRoute(
  server: FastifyInstance,
  { services, callers }: { services: Services; callers: Callers },
  name: RouteName,
): void {
  const route: AnyRoute = routes[name];
  const handle = handlers[name] as (
    services: Services,
    request: RequestOf<AnyRoute>,
    caller: Caller,
  ) => Promise<unknown>;
  server.route({
    method: route.method,
    // OpenAPI writes {name} where fastify writes :name.
    url: route.path.replaceAll(/\{(\w+)\}/g, ":$1"),
    schema: fastifySchema(name, route),
    preValidation: async (request) => {
      if (route.body !== rawBody && rawBody.safeParse(request.body).success) {
        throw new FleetError("input-invalid", "send this as application/json");
      }
      // No body is the same as an empty one where all fields may be left out.
      request.body ??= {};
    },
    handler: async (request, reply) => {
      const caller = callers.get(request);
      assert(caller !== undefined, "no handler runs before its caller is known");
      return reply
        .status(route.status)
        .send(await handle(services, partsOf(route, request), caller));
    },
  });
}

function badRequest(cause: Error): FleetError {
  return new FleetError("input-invalid", cause.message, { cause });
}

function partsOf(route: AnyRoute, request: FastifyRequest): RequestOf<AnyRoute> {
  if (route.body === rawBody && !rawBody.safeParse(request.body).success) {
    throw new FleetError("input-invalid", "send the file as application/octet-stream");
  }
  return {
    params: request.params as Record<string, unknown>,
    query: request.query as Record<string, unknown>,
    body: request.body,
  };
}

async function readCertificate(
  ctx: ControllerContext,
): Promise<{ cert: string; key: string } | undefined> {
  const { httpCertFile, httpKeyFile } = ctx.config;
  if (httpCertFile === undefined || httpKeyFile === undefined) return undefined;
  const read = async (path: string) =>
    new TextDecoder().decode(await ctx.files.read(path, { maxBytes: certificateBytesMax }));
  return { cert: await read(httpCertFile), key: await read(httpKeyFile) };
}

function loopback(ctx: ControllerContext, host: string): string {
  const isLoopback = host === "localhost" || host === "::1" || host.startsWith("127.");
  if (isLoopback) return host;
  ctx.log.warn("the API stays on loopback until it has a certificate", { host });
  return "127.0.0.1";
}
