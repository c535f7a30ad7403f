/**
 * The child process that holds one ONNX session and nothing else. It leaves when its parent is gone,
 * so a killed agent leaves no orphan, and its peak memory is the model's.
 */
import { readFileSync } from "node:fs";
import { env } from "onnxruntime-node";
import type { ModelInterface } from "../artifact/bundle.ts";
import { FleetError } from "../errors.ts";
import { type Answer, answerOf } from "./processing/answer.ts";
import { prepareSample, sampleBytes } from "./processing/registry.ts";
import {
  type RunnerReply,
  type RunnerRequest,
  runnerRequestSchema,
  type Samples,
} from "./runner-protocol.ts";
import { type Feed, openSession, type Session } from "./session.ts";

interface Loaded {
  readonly session: Session;
  readonly interface: ModelInterface;
  readonly loadMs: number;
  readonly ramBaseBytes: number;
}

/** Samples between two progress messages. */
const progressEvery = 256;

/** What this process holds: one model and its samples. */
interface Held {
  loaded: Loaded | undefined;
  prepared: readonly Record<string, Feed>[];
}
const held: Held = { loaded: undefined, prepared: [] };

process.on("disconnect", () => process.exit(0));
process.on("message", (message) => {
  void serve(runnerRequestSchema.parse(message));
});

async function serve(request: RunnerRequest): Promise<void> {
  try {
    reply({ kind: "answer", id: request.id, value: await perform(request) });
  } catch (error) {
    const code = error instanceof FleetError ? error.code : "onnx-unsupported";
    const message = error instanceof Error ? error.message : String(error);
    reply({ kind: "error", id: request.id, code, message });
  }
}

function reply(message: RunnerReply): void {
  // A parent that is gone ends this process by the closed channel; there is nobody to tell.
  process.send?.(message, undefined, {}, () => {});
}

function perform(request: RunnerRequest): Promise<unknown> | unknown {
  switch (request.call) {
    case "load":
      return load(request);
    case "infer":
      return infer(feedsOf(model().interface, request.sample));
    case "set-samples":
      held.prepared = prepareAll(model().interface, request.samples);
      return held.prepared.length;
    case "evaluate":
      return evaluate(request.id);
    case "benchmark":
      return benchmark(request.runs, request.firstSample);
    case "memory":
      return {
        ramPeakBytes: ramPeakBytes(),
        ramBaseBytes: model().ramBaseBytes,
        loadMs: model().loadMs,
      };
  }
}

function model(): Loaded {
  if (held.loaded === undefined) throw new FleetError("model-missing", "no model is loaded yet");
  return held.loaded;
}

async function load(request: Extract<RunnerRequest, { call: "load" }>): Promise<unknown> {
  const ramBaseBytes = ramPeakBytes();
  const started = process.hrtime.bigint();
  const session = await openSession(
    request.modelPath,
    request.optimizedModelPath === undefined
      ? {}
      : { optimizedModelPath: request.optimizedModelPath },
  );
  for (const spec of request.interface.inputs) {
    if (!session.inputs.some(({ name }) => name === spec.tensor)) {
      throw new FleetError("golden-mismatch", `the model has no input named ${spec.tensor}`);
    }
  }
  held.loaded = { session, interface: request.interface, loadMs: elapsedMs(started), ramBaseBytes };
  return {
    inputs: session.inputs,
    outputs: session.outputs,
    onnxruntime: env.versions.node ?? env.versions.common,
  };
}

function feedsOf(
  spec: ModelInterface,
  sample: Readonly<Record<string, Uint8Array>>,
): Record<string, Feed> {
  return Object.fromEntries(
    spec.inputs.map((input) => {
      const bytes = sample[input.tensor];
      if (bytes === undefined) {
        throw new FleetError("golden-mismatch", `the sample has no input named ${input.tensor}`);
      }
      return [input.tensor, batched(input.tensor, prepareSample(input, bytes))];
    }),
  );
}

/** Adds the batch axis of 1, unless the model takes the sample as it is. */
function batched(name: string, sample: Feed): Feed {
  const wanted = model().session.inputs.find((input) => input.name === name)?.shape ?? [];
  return wanted.length === sample.shape.length
    ? sample
    : { ...sample, shape: [1, ...sample.shape] };
}

async function infer(feeds: Record<string, Feed>): Promise<Answer> {
  return answerOf(model().interface.output, await model().session.run(feeds));
}

function prepareAll(spec: ModelInterface, samples: Samples): Record<string, Feed>[] {
  const counts = spec.inputs.map(({ tensor }) => samples[tensor]?.count ?? 0);
  const count = Math.min(...counts);
  return Array.from({ length: count }, (_, index) =>
    feedsOf(
      spec,
      Object.fromEntries(
        spec.inputs.map((input) => {
          const bytes = sampleBytes(input);
          const data = samples[input.tensor]?.data ?? new Uint8Array();
          return [input.tensor, data.subarray(index * bytes, (index + 1) * bytes)];
        }),
      ),
    ),
  );
}

/** Class index of each sample; for other models the outputs of each sample, flattened to float32. */
async function evaluate(id: number): Promise<{ top1: Int32Array; outputs: Float32Array[] }> {
  const top1 = new Int32Array(held.prepared.length);
  const outputs: Float32Array[] = [];
  for (const [index, feeds] of held.prepared.entries()) {
    const answer = await infer(feeds);
    if (answer.kind === "classification") top1[index] = answer.index;
    else outputs.push(flatten(answer));
    if (index % progressEvery === 0)
      reply({ kind: "progress", id, fraction: index / held.prepared.length });
  }
  return { top1, outputs };
}

function flatten(answer: Extract<Answer, { kind: "tensors" }>): Float32Array {
  const parts = Object.values(answer.tensors).map(({ data }) =>
    Float32Array.from(data as ArrayLike<number>, Number),
  );
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Times `run` only, over consecutive samples from `firstSample` on. */
async function benchmark(runs: number, firstSample: number): Promise<unknown> {
  if (held.prepared.length === 0)
    throw new FleetError("golden-mismatch", "there are no samples to time");
  const { session } = model();
  const latenciesMs = new Float64Array(runs);
  const before = process.cpuUsage();
  for (let run = 0; run < runs; run++) {
    const feeds = held.prepared[(firstSample + run) % held.prepared.length]!;
    const started = process.hrtime.bigint();
    await session.run(feeds);
    latenciesMs[run] = elapsedMs(started);
  }
  const { user, system } = process.cpuUsage(before);
  return { latenciesMs, cpuMs: (user + system) / 1000 };
}

function elapsedMs(started: bigint): number {
  return Number(process.hrtime.bigint() - started) / 1e6;
}

/** Highest resident memory of this process so far: VmHWM on Linux, getrusage elsewhere. */
function ramPeakBytes(): number {
  try {
    const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    if (match?.[1] !== undefined) return Number(match[1]) * 1024;
  } catch {
    // Not Linux: getrusage knows the peak.
  }
  return process.resourceUsage().maxRSS * 1024;
}
