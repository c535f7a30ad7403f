/** Whatever goes wrong in a request leaves as a code with a remedy; faults of ours say no more than that. */
import type { FastifyReply } from "fastify";
import {
  hasZodFastifySchemaValidationErrors,
  isResponseSerializationError,
} from "fastify-type-provider-zod";
import { z } from "zod";
import type { ApiError } from "../../shared/api/route.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { Log } from "../../shared/ports/log.ts";

export function sendError(log: Log, reply: FastifyReply, error: unknown): FastifyReply {
  const known = codedError(error);
  if (known.code === "internal") {
    const fields = { error: String(error), ...(error instanceof Error && { stack: error.stack }) };
    log.error("a request failed", fields);
  }
  const body: ApiError = {
    code: known.code,
    message: known.message,
    remedy: known.remedy,
    retryable: known.retryable,
    details: { ...known.details },
  };
  return reply.status(known.status).send(body);
}

function codedError(error: unknown): FleetError {
  if (isFleetError(error)) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const faults = error.validation.map(({ instancePath, message }) =>
      `${instancePath.replaceAll("/", ".").replace(/^\./, "")} ${message}`.trim(),
    );
    return new FleetError("input-invalid", faults.join("; "), {
      details: { faults },
      cause: error,
    });
  }
  if (error instanceof z.ZodError || isResponseSerializationError(error)) return internal(error);
  const { statusCode, message, code } = partsOf(error);
  if (code === "ENOSPC") return new FleetError("disk-full", "the disk is full", { cause: error });
  if (statusCode === 413) return new FleetError("too-large", message, { cause: error });
  if (statusCode >= 400 && statusCode < 500) {
    return new FleetError("json-invalid", message, { cause: error });
  }
  return internal(error);
}

function internal(cause: unknown): FleetError {
  return new FleetError("internal", "the controller failed on this request; its log says why", {
    cause,
  });
}

function partsOf(error: unknown): { statusCode: number; message: string; code: string } {
  const { statusCode, message, code } = (error ?? {}) as Record<string, unknown>;
  return { statusCode: Number(statusCode ?? 500), message: String(message), code: String(code) };
}
