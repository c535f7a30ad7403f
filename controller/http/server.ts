/**
 * The HTTP API: JSON routes from the registry, raw uploads, and the OpenAPI 3.1 description made from
 * the same schemas. Every route but the description needs the bearer token.
 */
import swagger from "@fastify/swagger";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import {
  createJsonSchemaTransform,
  hasZodFastifySchemaValidationErrors,
  serializerCompiler,
  validatorCompiler,
} from "fastify-type-provider-zod";
import { z } from "zod";
import { sha256Schema } from "../../shared/artifact/hash.ts";
import { errorFacts, FleetError, isFleetError } from "../../shared/errors.ts";
import { secretMatches } from "../trust/claims.ts";
import { routes } from "./routes/registry.ts";
import type { AnyRoute } from "./routes/route.ts";
import type { Services } from "./services.ts";

/** Longest JSON body, in bytes: a long list of labels. */
const jsonBytesMax = 4_000_000;
/** Longest upload, in bytes. */
const blobBytesMax = 2 ** 30;
const openPaths = new Set(["/openapi.json"]);

const errorSchema = z
  .object({
    code: z.enum(Object.keys(errorFacts) as [string, ...string[]]),
    message: z.string(),
    remedy: z.string(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Error" });

export async function startHttp(
  services: Services,
  listen: { host: string; port: number },
): Promise<{ url: string; stop(): Promise<void> }> {
  const server = fastify({ bodyLimit: jsonBytesMax, forceCloseConnections: true });
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  server.setErrorHandler((error, _request, reply) => sendError(services, reply, error));
  server.setNotFoundHandler((request, reply) =>
    sendError(
      services,
      reply,
      new FleetError("not-found", `there is no ${request.method} ${request.url}`),
    ),
  );
  server.addHook("onRequest", async (request) => authorize(services, request));
  await server.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Fleetfit controller", version: "1" },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
    transform: createJsonSchemaTransform({ skipList: ["/openapi.json"] }),
  });
  for (const route of routes) addRoute(server, services, route);
  addUpload(server, services);
  server.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) =>
    reply.type("application/json").send(JSON.stringify(server.swagger())),
  );
  const url = await server.listen(listen);
  return { url, stop: () => server.close() };
}

function addRoute(server: FastifyInstance, services: Services, route: AnyRoute): void {
  server.route({
    method: route.method,
    url: route.path,
    schema: {
      summary: route.summary,
      tags: [route.tag],
      ...(route.params && { params: route.params }),
      ...(route.query && { querystring: route.query }),
      ...(route.body && { body: route.body }),
      response: { 200: route.answer, "4xx": errorSchema },
    },
    handler: (request) =>
      route.handle(services, { params: request.params, query: request.query, body: request.body }),
  });
}

/** `PUT /v1/blobs/{sha256}`: raw bytes, stored under their hash. */
function addUpload(server: FastifyInstance, { ctx }: Services): void {
  server.addContentTypeParser(
    "application/octet-stream",
    { parseAs: "buffer", bodyLimit: blobBytesMax },
    (_request, body, done) => done(null, body),
  );
  server.put(
    "/v1/blobs/:sha256",
    {
      bodyLimit: blobBytesMax,
      schema: {
        summary: "Upload a file under its SHA-256",
        tags: ["blobs"],
        params: z.object({ sha256: sha256Schema }),
        response: { 200: z.object({ sha256: z.string(), bytes: z.number() }), "4xx": errorSchema },
      },
    },
    async (request) => {
      const { sha256 } = request.params as { sha256: string };
      const bytes = new Uint8Array(request.body as Buffer);
      const stored = await ctx.blobs.put(bytes);
      if (stored !== sha256) {
        throw new FleetError("artifact-mismatch", `the bytes hash to ${stored}, not to ${sha256}`);
      }
      return { sha256, bytes: bytes.byteLength };
    },
  );
}

function authorize({ tokenSha256 }: Services, request: FastifyRequest): void {
  if (openPaths.has(request.url)) return;
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
  if (!secretMatches(new TextEncoder().encode(token), tokenSha256)) {
    throw new FleetError("unauthorized", "this needs a valid bearer token");
  }
}

function sendError({ ctx }: Services, reply: FastifyReply, error: unknown): FastifyReply {
  const known = codedError(error);
  if (known.code === "internal")
    ctx.log.error("a request failed", { error: String(error), stack: stackOf(error) });
  return reply.status(known.status).send({
    code: known.code,
    message: known.message,
    remedy: known.remedy,
    details: known.details,
  });
}

function codedError(error: unknown): FleetError {
  if (isFleetError(error)) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const faults = error.validation.map(({ instancePath, message }) =>
      `${instancePath} ${message}`.trim(),
    );
    return new FleetError("input-invalid", faults.join("; "), { cause: error });
  }
  const status = error instanceof Error && "statusCode" in error ? Number(error.statusCode) : 500;
  const message = error instanceof Error ? error.message : String(error);
  if (status === 413) return new FleetError("too-large", message, { cause: error });
  if (status >= 400 && status < 500)
    return new FleetError("json-invalid", message, { cause: error });
  return new FleetError("internal", "the controller failed on this request; its log says why", {
    cause: error,
  });
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}
