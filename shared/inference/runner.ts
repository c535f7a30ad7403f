/**
 * The parent's side of a runner: one model in one forked child. A crash, a hang or a leak of the
 * model is the child's and never ours.
 *
 * Invariants: each call ends, with an answer or a coded error; a child that is late or takes too much
 * memory is killed; nothing here loads onnxruntime.
 */
import type { ModelInterface } from "../artifact/bundle.ts";
import { type ErrorCode, FleetError, isErrorCode } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Files } from "../ports/files.ts";
import type { ChildHandle, Processes } from "../ports/processes.ts";
import type { CostTimes } from "./cost-table.ts";
import { watchMemory } from "./memory-watch.ts";
import type { Answer } from "./processing/answer.ts";
import {
  answerSchemas,
  type Benchmark,
  type Evaluation,
  type RunnerAnswers,
  type RunnerMemory,
  type RunnerRequest,
  runnerReplySchema,
  type Samples,
} from "./runner-protocol.ts";

export interface Runner {
  readonly pid: number | undefined;
  readonly onnxruntime: string;
  /** Raw source-dtype bytes per input; the bundle's processing happens in the child. */
  infer(
    sample: Readonly<Record<string, Uint8Array>>,
    options?: { timeoutMs?: number },
  ): Promise<Answer>;
  /** Samples for `evaluate` and `benchmark`; kept until replaced. Answers their number. */
  setSamples(samples: Samples): Promise<number>;
  evaluate(onProgress?: (fraction: number) => void): Promise<Evaluation>;
  /** Times `runs` runs over consecutive samples, from `firstSample` on and round again. */
  benchmark(block: { runs: number; firstSample: number }): Promise<Benchmark>;
  memory(): Promise<RunnerMemory>;
  /**
   * A second model in the same process, once: the two of a comparison share core, clock and cache. It
   * lives and ends with the first. Errors: those of `startRunner`.
   */
  loadBeside(model: ModelPaths): Promise<Runner>;
  onExit(handler: (why: FleetError) => void): void;
  /** Ends the child; resolves when it is gone. */
  close(): Promise<void>;
}

/** A model with all that it needs, as it lies on the disk. */
export interface ModelPaths {
  readonly modelPath: string;
  readonly interface: ModelInterface;
  /** Of the files that the interface reads, by name; none by default. */
  readonly assetPaths?: Readonly<Record<string, string>>;
}

export interface RunnerOptions extends ModelPaths {
  readonly processes: Processes;
  readonly clock: Clock;
  readonly optimizedModelPath?: string;
  /** Until the model is loaded; 60 s by default, as busy single-core devices need. */
  readonly startTimeoutMs?: number;
  /** Longest call; 120 s by default. */
  readonly callTimeoutMs?: number;
  /** Resident memory above which the child is killed; without it nobody looks. */
  readonly memory?: { readonly files: Files; readonly ramBytesMax: number };
}

const entry = new URL("./runner-main.ts", import.meta.url);
const startTimeoutDefaultMs = 60_000;
const callTimeoutDefaultMs = 120_000;

/**
 * Errors: `runner-crashed`, `runner-timeout`, `runner-memory`, `onnx-malformed`, `golden-mismatch`,
 * `artifact-missing`, `tokenizer-invalid`.
 */
export async function startRunner(options: RunnerOptions): Promise<Runner> {
  const channel = openChannel(options);
  try {
    return await loadModel(channel, options, 0);
  } catch (error) {
    await channel.close();
    throw error;
  }
}

/**
 * What operators cost here, timed in a child of its own with one thread, from a file of probes. Errors:
 * `runner-crashed`, `runner-timeout`, `runner-memory`, `onnx-malformed`, `costs-invalid`.
 */
export async function runCostProbes(
  options: Pick<RunnerOptions, "processes" | "clock" | "memory"> & {
    readonly probesPath: string;
    readonly timeoutMs: number;
  },
): Promise<CostTimes> {
  const channel = openChannel(options);
  try {
    const { probesPath, timeoutMs } = options;
    return await channel.call("time-costs", { probesPath }, timeoutMs);
  } finally {
    await channel.close();
  }
}

async function loadModel(channel: Channel, options: RunnerOptions, model: 0 | 1): Promise<Runner> {
  const callTimeoutMs = options.callTimeoutMs ?? callTimeoutDefaultMs;
  const call = <Name extends ModelCallName>(
    name: Name,
    fields: Omit<CallFields<Name>, "model">,
    onProgress?: (fraction: number) => void,
  ) => channel.call(name, { ...fields, model } as CallFields<Name>, callTimeoutMs, onProgress);
  const { onnxruntime } = await channel.call(
    "load",
    {
      model,
      modelPath: options.modelPath,
      interface: options.interface,
      assetPaths: { ...options.assetPaths },
      ...(options.optimizedModelPath && { optimizedModelPath: options.optimizedModelPath }),
    },
    options.startTimeoutMs ?? startTimeoutDefaultMs,
  );
  return {
    pid: channel.pid,
    onnxruntime,
    infer: (sample, { timeoutMs = callTimeoutMs } = {}) =>
      channel.call("infer", { model, sample }, timeoutMs),
    setSamples: (samples) => call("set-samples", { samples }),
    evaluate: (onProgress) => call("evaluate", {}, onProgress),
    benchmark: (block) => call("benchmark", block),
    memory: () => call("memory", {}),
    loadBeside: (other) => loadModel(channel, { ...options, ...other }, 1),
    onExit: channel.onExit,
    close: channel.close,
  };
}

type CallName = RunnerRequest["call"];
type ModelCallName = Extract<RunnerRequest, { model: number }>["call"];
type CallFields<Name extends CallName> = Omit<
  Extract<RunnerRequest, { call: Name }>,
  "id" | "call"
>;

interface Pending {
  readonly name: CallName;
  resolve(value: unknown): void;
  reject(error: FleetError): void;
  readonly progress: ((fraction: number) => void) | undefined;
}

export interface Channel {
  readonly pid: number | undefined;
  call<Name extends CallName>(
    name: Name,
    fields: CallFields<Name>,
    timeoutMs: number,
    onProgress?: (fraction: number) => void,
  ): Promise<RunnerAnswers[Name]>;
  onExit(handler: (why: FleetError) => void): void;
  close(): Promise<void>;
}

export function openChannel({
  processes,
  clock,
  memory,
}: Pick<RunnerOptions, "processes" | "clock" | "memory">): Channel {
  const child: ChildHandle = processes.fork(entry);
  const pending = new Map<number, Pending>();
  const exitHandlers: ((why: FleetError) => void)[] = [];
  let ended: FleetError | undefined;
  let nextId = 1;
  const gone = new Promise<void>((resolve) => {
    child.onExit(({ code, signal }) => {
      ended ??= new FleetError(
        "runner-crashed",
        `the model's process ended (${signal ?? `code ${code}`})`,
      );
      for (const call of pending.values()) call.reject(ended);
      pending.clear();
      for (const handler of exitHandlers) handler(ended);
      resolve();
    });
  });
  /** The first reason stands: a child that was killed for a timeout ends with that error. */
  const end = (why: FleetError) => {
    ended ??= why;
    child.kill("SIGKILL");
  };
  const lookAtMemory = memory
    ? watchMemory({
        ...memory,
        clock,
        pid: child.pid,
        isBusy: () => pending.size > 0,
        onOver: end,
      })
    : () => {};
  child.onMessage((message) => {
    const fault = settle(pending, message);
    if (fault !== undefined) end(fault);
  });
  return {
    pid: child.pid,
    onExit: (handler) => (ended === undefined ? exitHandlers.push(handler) : handler(ended)),
    async close() {
      end(new FleetError("runner-crashed", "the model's process was ended on purpose"));
      await gone;
    },
    call<Name extends CallName>(
      name: Name,
      fields: CallFields<Name>,
      timeoutMs: number,
      onProgress?: (fraction: number) => void,
    ) {
      if (ended !== undefined) return Promise.reject(ended);
      const id = nextId++;
      return new Promise<RunnerAnswers[Name]>((resolve, reject) => {
        const cancel = clock.after(timeoutMs, () =>
          end(new FleetError("runner-timeout", `the model gave no answer within ${timeoutMs} ms`)),
        );
        pending.set(id, {
          name,
          resolve(value) {
            cancel();
            resolve(value as RunnerAnswers[Name]);
          },
          reject(error) {
            cancel();
            reject(error);
          },
          progress: onProgress,
        });
        child.send({ ...fields, call: name, id });
        lookAtMemory();
      });
    },
  };
}

/** Settles the call that a message answers; a fault when the child breaks the protocol. */
function settle(pending: Map<number, Pending>, message: unknown): FleetError | undefined {
  const reply = runnerReplySchema.safeParse(message);
  if (!reply.success) return babble(reply.error);
  const call = pending.get(reply.data.id);
  if (call === undefined) return undefined;
  if (reply.data.kind === "progress") {
    call.progress?.(reply.data.fraction);
    return undefined;
  }
  if (reply.data.kind === "error") {
    pending.delete(reply.data.id);
    call.reject(new FleetError(codeOf(reply.data.code), reply.data.message));
    return undefined;
  }
  const answer = answerSchemas[call.name].safeParse(reply.data.value);
  if (!answer.success) return babble(answer.error);
  pending.delete(reply.data.id);
  call.resolve(answer.data);
  return undefined;
}

function babble(cause: Error): FleetError {
  return new FleetError("runner-crashed", "the model's process sent what it must not", { cause });
}

function codeOf(code: string): ErrorCode {
  return isErrorCode(code) ? code : "runner-crashed";
}
