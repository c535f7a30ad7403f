/**
 * The local inference API, on loopback only: what the device's own software asks.
 *
 *   POST /v1/models/{name}/infer   {"inputs": {"image": "<base64 of the raw sample>"}}
 *                                  or {"inputs": {"image": [[0, 12, …], …]}} in the sample's shape
 *                                  or {"text": "…"}, or the text itself as text/plain, for a model of text
 *   GET  /v1/models                what is served
 *   GET  /healthz                  200 while the agent lives
 */
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { z } from "zod";
import { type Bundle, tokenizeStep } from "../../shared/artifact/bundle.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { Answer } from "../../shared/inference/processing/answer.ts";
import type { AgentContext } from "../context.ts";
import { callModel, type InferenceCall } from "./call.ts";
import { sampleBytes } from "./sample-input.ts";
import type { Serving } from "./serving.ts";

/** Longest request, in bytes: one raw sample in base64 or as numbers. */
const bodyBytesMax = 64_000_000;
const host = "127.0.0.1";

const inferBody = z
  .object({ inputs: z.record(z.string().max(256), z.unknown()), text: z.string() })
  .partial()
  .refine(
    ({ inputs, text }) => (inputs === undefined) !== (text === undefined),
    "send either inputs or text",
  );
const modelParams = z.object({ name: z.string().max(64) });

export interface InferenceApiOptions {
  readonly context: AgentContext;
  readonly serving: Serving;
  /** As that of `ModelCaller`. */
  readonly record: (call: InferenceCall) => void;
  readonly port: number;
}

/** How the models are offered to the device's own software; the agent is given one. */
export type StartInferenceApi = (
  options: InferenceApiOptions,
) => Promise<{ readonly url: string; stop(): Promise<void> }>;

export const startInferenceApi: StartInferenceApi = async (options) => {
  const { context, serving } = options;
  const server = fastify({ bodyLimit: bodyBytesMax, forceCloseConnections: true });
  server.setErrorHandler((error, _request, reply) => sendError(reply, error));
  server.get("/healthz", async () => ({ ok: true, device: context.identity.device }));
  server.get("/v1/models", async () => ({
    models: context.store.models().map(({ name }) => ({
      name,
      servingSha256: serving.servedSha256(name),
      version: context.store.committedSlot(name)?.version ?? null,
      recipe: context.store.committedSlot(name)?.recipe ?? null,
    })),
  }));
  addInferRoute(server, options);
  const url = await server.listen({ host, port: options.port });
  return { url, stop: () => server.close() };
};

function addInferRoute(
  server: FastifyInstance,
  { context, serving, record }: Pick<InferenceApiOptions, "context" | "serving" | "record">,
): void {
  server.post("/v1/models/:name/infer", async (request) => {
    const { name } = modelParams.parse(request.params);
    const sent = typeof request.body === "string" ? { text: request.body } : request.body;
    const body = inferBody.safeParse(sent);
    if (!body.success) throw new FleetError("input-invalid", z.prettifyError(body.error));
    const sample = readSample(serving.bundle(name), body.data);
    const { bundleSha256, answer } = await callModel({ context, serving, record }, name, sample);
    return { bundleSha256, ...publicAnswer(answer) };
  });
}

/** Errors: `model-missing`, `input-invalid`. */
function readSample(
  bundle: Bundle | undefined,
  { inputs, text }: z.infer<typeof inferBody>,
): Record<string, Uint8Array> {
  if (bundle === undefined) throw new FleetError("model-missing", "no such model is served now");
  const specs = new Map(bundle.interface.inputs.map((spec) => [spec.tensor, spec]));
  return Object.fromEntries(
    Object.entries(inputs ?? textInputs(bundle, text)).map(([tensor, value]) => {
      const spec = specs.get(tensor);
      if (spec === undefined) {
        const known = [...specs.keys()].join(", ");
        throw new FleetError("input-invalid", `no input ${tensor}; the model takes ${known}`);
      }
      return [tensor, sampleBytes(spec, value)];
    }),
  );
}

/** The text for each input that takes one: a model may want the ids and the mask of the same text. */
function textInputs({ interface: { inputs } }: Bundle, text: unknown): Record<string, unknown> {
  const tensors = inputs.filter((input) => tokenizeStep(input) !== undefined);
  if (tensors.length === 0) {
    throw new FleetError("input-invalid", "the model takes no text: send its inputs by name");
  }
  return Object.fromEntries(tensors.map(({ tensor }) => [tensor, text]));
}

function publicAnswer(answer: Answer): object {
  if (answer.kind === "classification") {
    return {
      label: answer.label,
      index: answer.index,
      score: answer.score,
      scores: [...answer.scores],
    };
  }
  return {
    tensors: Object.fromEntries(
      Object.entries(answer.tensors).map(([name, { dtype, shape, data }]) => [
        name,
        { dtype, shape, data: Array.from(data as ArrayLike<number>, Number) },
      ]),
    ),
  };
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const known = isFleetError(error)
    ? error
    : new FleetError("input-invalid", error instanceof Error ? error.message : String(error));
  return reply
    .status(known.status)
    .send({ code: known.code, message: known.message, remedy: known.remedy });
}
