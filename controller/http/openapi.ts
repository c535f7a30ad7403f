/** The API description, OpenAPI 3.1, made from the route definitions. */
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import type { FastifySchema } from "fastify";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { type RouteName, routes } from "../../shared/api/registry.ts";
import { type AnyRoute, apiErrorSchema, commonErrors } from "../../shared/api/route.ts";
import { type ErrorCode, errorFacts } from "../../shared/errors.ts";

/** The description's own path, which is open to everybody. */
export const openapiPath = "/openapi.json";

export const openapiOptions: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: "3.1.0",
    info: {
      title: "Fleetfit controller",
      description:
        "Models, variants, devices and rollouts of a fleet. Every failure has a code and a remedy.",
      version: "1",
    },
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    security: [{ token: [] }],
  },
  transform: jsonSchemaTransform,
  transformObject: (document) => withUpload(jsonSchemaTransformObject(document)),
};

/** The part of a route definition that validates, serializes and describes it. */
export function fastifySchema(name: RouteName, route: AnyRoute): FastifySchema {
  const hasKeys = (schema: z.ZodObject) => Object.keys(schema.shape).length > 0;
  const takesJson = route.body instanceof z.ZodObject;
  return {
    operationId: name,
    summary: route.summary,
    tags: [route.tag],
    ...(hasKeys(route.params) && { params: route.params }),
    ...(hasKeys(route.query) && { querystring: route.query }),
    ...(takesJson && { body: route.body }),
    response: { [route.status]: route.answer, ...errorAnswers(route.errors) },
  };
}

/** One answer per status, telling the codes that it may carry. */
function errorAnswers(codes: readonly ErrorCode[]): Record<string, unknown> {
  const byStatus = Map.groupBy([...commonErrors, ...codes], (code) => errorFacts[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, own]) => [
      status,
      {
        description: own.map((code) => `\`${code}\`: ${errorFacts[code].remedy}`).join("\n\n"),
        content: { "application/json": { schema: apiErrorSchema } },
      },
    ]),
  );
}

type Document = ReturnType<typeof jsonSchemaTransformObject>;

/** The one body that is no JSON has no schema, so it is described by hand. */
function withUpload(document: Document): Document {
  const { paths } = document as { paths?: Record<string, { put?: object }> };
  const put = paths?.[routes.putBlob.path]?.put;
  if (put !== undefined) {
    const content = { "application/octet-stream": {} };
    Object.assign(put, { requestBody: { required: true, content } });
  }
  return document;
}
