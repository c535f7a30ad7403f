/**
 * The child process that holds one ONNX session and nothing else, so its peak memory is the model's; a
 * second one only to be timed beside it, since two processes may sit on cores of different speed. Or it
 * helps another process, with models that have no interface (`helper.ts`).
 * It leaves when its channel closes. That is seen between runs only, since a run blocks the event loop:
 * the operating system ends it inside a run (`shared/adapters/system-processes.ts`).
 */
import { readFileSync } from "node:fs";
import { env } from "onnxruntime-node";
import { fileBytes } from "../adapters/file-bytes.ts";
import type { ModelInterface } from "../artifact/bundle.ts";
import { FleetError } from "../errors.ts";
import { decodeCostProbes } from "./cost-probes.ts";
import { OpenedModels } from "./opened-models.ts";
import { type Answer, answerOf, flattenTensors } from "./processing/answer.ts";
import { type PrepareSample, sampleBytes, samplePreparer } from "./processing/registry.ts";
import {
  type Benchmark,
  type Evaluation,
  type RunnerReply,
  type RunnerRequest,
  runnerRequestSchema,
  type Samples,
} from "./runner-protocol.ts";
import { type Feed, openSession, type Session, type TensorFact } from "./session.ts";
import { timeCostProbes } from "./time-costs.ts";

interface Loaded {
  readonly session: Session;
  readonly interface: ModelInterface;
  readonly prepare: PrepareSample;
  readonly loadMs: number;
  readonly ramBaseBytes: number;
}

/** Samples between two progress messages. */
const progressEvery = 256;

/** A model and its raw samples, which are prepared when they are used. */
interface Held extends Loaded {
  samples: readonly Readonly<Record<string, Uint8Array>>[];
}
const held = new Map<number, Held>();
const opened = new OpenedModels();

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
    case "open":
      return opened.open(request.id, request.modelBytes);
    case "run":
      return opened.run(request.opened, request.feeds);
    case "shut":
      return opened.shut(request.opened);
    case "time-costs":
      return timeCostProbes(
        decodeCostProbes(readFileSync(request.probesPath)),
        process.hrtime.bigint,
      );
    default:
      return performOn(request);
  }
}

function performOn(
  request: Exclude<Extract<RunnerRequest, { model: number }>, { call: "load" }>,
): Promise<unknown> | unknown {
  const model = held.get(request.model);
  if (model === undefined) throw new FleetError("model-missing", "no model is loaded yet");
  switch (request.call) {
    case "infer":
      return inferFinite(model, feedsOf(model, request.sample));
    case "set-samples":
      model.samples = splitSamples(model.interface, request.samples);
      return model.samples.length;
    case "evaluate":
      return evaluate(model, request.id);
    case "benchmark":
      return benchmark(model, request);
    case "memory":
      return {
        ramPeakBytes: ramPeakBytes(),
        ramBaseBytes: model.ramBaseBytes,
        loadMs: model.loadMs,
      };
  }
}

async function load(request: Extract<RunnerRequest, { call: "load" }>): Promise<unknown> {
  const ramBaseBytes = ramPeakBytes();
  const started = process.hrtime.bigint();
  const assets = Object.entries(request.assetPaths).map(([name, path]) => [name, fileBytes(path)]);
  const prepare = samplePreparer(request.interface, Object.fromEntries(assets));
  const session = await openSession(
    request.modelPath,
    request.optimizedModelPath === undefined
      ? {}
      : { optimizedModelPath: request.optimizedModelPath },
  );
  const loaded = {
    session,
    interface: request.interface,
    prepare,
    loadMs: elapsedMs(started),
    ramBaseBytes,
  };
  checkInputs(loaded);
  held.set(request.model, { ...loaded, samples: [] });
  return { onnxruntime: env.versions.node ?? env.versions.common };
}

/** A sample of zeros goes through the steps: what comes out must be what the model takes. */
function checkInputs({ session, prepare, interface: { inputs } }: Loaded): void {
  for (const { name } of session.inputs) {
    if (!inputs.some(({ tensor }) => tensor === name)) {
      throw new FleetError("golden-mismatch", `the interface gives nothing for input ${name}`);
    }
  }
  for (const spec of inputs) {
    const wanted = session.inputs.find(({ name }) => name === spec.tensor);
    if (wanted === undefined) {
      throw new FleetError("golden-mismatch", `the model has no input named ${spec.tensor}`);
    }
    const feed = batched(wanted, prepare(spec, new Uint8Array(sampleBytes(spec))));
    if (!fits(wanted, feed)) {
      throw new FleetError(
        "golden-mismatch",
        `input ${spec.tensor} takes ${wanted.dtype} [${wanted.shape}] (-1 is any), the sample gives ${feed.dtype} [${feed.shape}]`,
      );
    }
  }
}

function fits(wanted: TensorFact, feed: Feed): boolean {
  if (wanted.dtype !== feed.dtype) return false;
  // onnxruntime reports no size for an input of unknown rank, so there is nothing to compare.
  if (wanted.shape.length === 0) return true;
  return (
    wanted.shape.length === feed.shape.length &&
    wanted.shape.every((size, axis) => size === -1 || size === feed.shape[axis])
  );
}

function feedsOf(
  { session, prepare, interface: { inputs } }: Loaded,
  sample: Readonly<Record<string, Uint8Array>>,
): Record<string, Feed> {
  return Object.fromEntries(
    inputs.map((input) => {
      const bytes = sample[input.tensor];
      const wanted = session.inputs.find(({ name }) => name === input.tensor);
      if (bytes === undefined || wanted === undefined) {
        throw new FleetError("golden-mismatch", `the sample has no input named ${input.tensor}`);
      }
      return [input.tensor, batched(wanted, prepare(input, bytes))];
    }),
  );
}

/** Adds the batch axis of 1, unless the model takes the sample as it is. */
function batched(wanted: TensorFact, sample: Feed): Feed {
  return wanted.shape.length === sample.shape.length
    ? sample
    : { ...sample, shape: [1, ...sample.shape] };
}

async function infer(model: Loaded, feeds: Record<string, Feed>): Promise<Answer> {
  return answerOf(model.interface.output, await model.session.run(feeds));
}

/** For a client, who can do nothing with NaN. Errors: `onnx-not-finite`. */
async function inferFinite(model: Loaded, feeds: Record<string, Feed>): Promise<Answer> {
  const answer = await infer(model, feeds);
  if (answer.kind === "classification" && answer.index < 0) {
    throw new FleetError("onnx-not-finite", "the model's scores are not numbers");
  }
  return answer;
}

/** Each sample's raw bytes per input, as views. Errors: `golden-mismatch`. */
function splitSamples(spec: ModelInterface, samples: Samples): Record<string, Uint8Array>[] {
  const count = samples[spec.inputs[0]?.tensor ?? ""]?.count ?? 0;
  for (const input of spec.inputs) {
    const given = samples[input.tensor];
    if (given?.count !== count || given.data.byteLength !== count * sampleBytes(input)) {
      throw new FleetError(
        "golden-mismatch",
        `the samples of ${input.tensor} are not ${count} of ${sampleBytes(input)} bytes`,
      );
    }
  }
  const sampleAt = (index: number) =>
    spec.inputs.map((input) => {
      const bytes = sampleBytes(input);
      const { data } = samples[input.tensor]!;
      return [input.tensor, data.subarray(index * bytes, (index + 1) * bytes)] as const;
    });
  return Array.from({ length: count }, (_, index) => Object.fromEntries(sampleAt(index)));
}

/** Class index of each sample; for other models the outputs of each sample, flattened to float32. */
async function evaluate(model: Held, id: number): Promise<Evaluation> {
  const { samples } = model;
  const top1 = new Int32Array(samples.length);
  const outputs: Float32Array[] = [];
  for (const [index, sample] of samples.entries()) {
    const answer = await infer(model, feedsOf(model, sample));
    if (answer.kind === "classification") top1[index] = answer.index;
    else outputs.push(flattenTensors(answer.tensors));
    if (index % progressEvery === 0)
      reply({ kind: "progress", id, fraction: index / samples.length });
  }
  return { top1, outputs };
}

/** Times `run` only, over consecutive samples from `firstSample` on. */
async function benchmark(
  model: Held,
  { runs, firstSample }: { runs: number; firstSample: number },
): Promise<Benchmark> {
  const { session, samples } = model;
  const feeds = Array.from({ length: Math.min(runs, samples.length) }, (_, at) =>
    feedsOf(model, samples[(firstSample + at) % samples.length]!),
  );
  if (feeds.length === 0) {
    throw new FleetError("golden-mismatch", "there are no samples to time");
  }
  const latenciesMs = new Float64Array(runs);
  const before = process.cpuUsage();
  for (let run = 0; run < runs; run++) {
    const started = process.hrtime.bigint();
    await session.run(feeds[run % feeds.length]!);
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
