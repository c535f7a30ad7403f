/**
 * The parent's side of a runner: one model in one forked child. A crash, a hang or a leak of the
 * model is the child's and never ours.
 *
 * Invariants: each call ends, with an answer or a coded error; a timed-out child is killed; nothing
 * here loads onnxruntime.
 */
import { z } from "zod";
import type { ModelInterface } from "../artifact/bundle.ts";
import { type ErrorCode, FleetError, isErrorCode } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { ChildHandle, Processes } from "../ports/processes.ts";
import type { Answer } from "./processing/answer.ts";
import { type RunnerRequest, runnerReplySchema, type Samples } from "./runner-protocol.ts";

export interface Evaluation {
  /** Class index per sample; all 0 for models that do not classify. */
  readonly top1: Int32Array;
  /** Flattened outputs per sample, for models that do not classify. */
  readonly outputs: readonly Float32Array[];
}

export interface RunnerMemory {
  readonly ramPeakBytes: number;
  /** Peak before the model was loaded: what Node and onnxruntime take. */
  readonly ramBaseBytes: number;
  readonly loadMs: number;
}

export interface Runner {
  readonly pid: number | undefined;
  readonly onnxruntime: string;
  /** Raw source-dtype bytes per input; the bundle's processing happens in the child. */
  infer(sample: Readonly<Record<string, Uint8Array>>): Promise<Answer>;
  /** Samples for `evaluate` and `benchmark`; kept until replaced. Answers their number. */
  setSamples(samples: Samples): Promise<number>;
  evaluate(onProgress?: (fraction: number) => void): Promise<Evaluation>;
  benchmark(block: {
    runs: number;
    firstSample: number;
  }): Promise<{ latenciesMs: Float64Array; cpuMs: number }>;
  memory(): Promise<RunnerMemory>;
  onExit(handler: (why: FleetError) => void): void;
  /** Ends the child; resolves when it is gone. */
  close(): Promise<void>;
}

export interface RunnerOptions {
  readonly processes: Processes;
  readonly clock: Clock;
  readonly modelPath: string;
  readonly interface: ModelInterface;
  readonly optimizedModelPath?: string;
  /** Until the model is loaded; 60 s by default, as busy single-core devices need. */
  readonly startTimeoutMs?: number;
  /** Longest call; 120 s by default. */
  readonly callTimeoutMs?: number;
}

const entry = new URL("./runner-main.ts", import.meta.url);
const startTimeoutDefaultMs = 60_000;
const callTimeoutDefaultMs = 120_000;
const loadedSchema = z.object({ onnxruntime: z.string() });

/** Errors: `runner-crashed`, `runner-timeout`, `onnx-malformed`, `golden-mismatch`. */
export async function startRunner(options: RunnerOptions): Promise<Runner> {
  const channel = openChannel(options.processes.fork(entry), options.clock);
  const callTimeoutMs = options.callTimeoutMs ?? callTimeoutDefaultMs;
  const call = (request: Unnumbered, onProgress?: (fraction: number) => void) =>
    channel.call(request, callTimeoutMs, onProgress);
  try {
    const loaded = await channel.call(
      {
        call: "load",
        modelPath: options.modelPath,
        interface: options.interface,
        ...(options.optimizedModelPath && { optimizedModelPath: options.optimizedModelPath }),
      },
      options.startTimeoutMs ?? startTimeoutDefaultMs,
    );
    return {
      pid: channel.pid,
      onnxruntime: loadedSchema.parse(loaded).onnxruntime,
      infer: (sample) => call({ call: "infer", sample }) as Promise<Answer>,
      setSamples: (samples) => call({ call: "set-samples", samples }) as Promise<number>,
      evaluate: (onProgress) => call({ call: "evaluate" }, onProgress) as Promise<Evaluation>,
      benchmark: (block) =>
        call({ call: "benchmark", ...block }) as Promise<{
          latenciesMs: Float64Array;
          cpuMs: number;
        }>,
      memory: () => call({ call: "memory" }) as Promise<RunnerMemory>,
      onExit: channel.onExit,
      close: channel.close,
    };
  } catch (error) {
    await channel.close();
    throw error;
  }
}

type WithoutId<Request> = Request extends unknown ? Omit<Request, "id"> : never;
type Unnumbered = WithoutId<RunnerRequest>;

interface Pending {
  resolve(value: unknown): void;
  reject(error: FleetError): void;
  progress: ((fraction: number) => void) | undefined;
}

interface Channel {
  readonly pid: number | undefined;
  call(
    request: Unnumbered,
    timeoutMs: number,
    onProgress?: (fraction: number) => void,
  ): Promise<unknown>;
  onExit(handler: (why: FleetError) => void): void;
  close(): Promise<void>;
}

function openChannel(child: ChildHandle, clock: Clock): Channel {
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
  child.onMessage((message) => settle(pending, message));
  return {
    pid: child.pid,
    onExit: (handler) => (ended === undefined ? exitHandlers.push(handler) : handler(ended)),
    async close() {
      child.kill("SIGKILL");
      await gone;
    },
    call(request, timeoutMs, onProgress) {
      if (ended !== undefined) return Promise.reject(ended);
      const id = nextId++;
      return new Promise((resolve, reject) => {
        const cancel = clock.after(timeoutMs, () => {
          ended ??= new FleetError(
            "runner-timeout",
            `the model gave no answer within ${timeoutMs} ms`,
          );
          child.kill("SIGKILL");
        });
        const finish =
          <T>(settleWith: (value: T) => void) =>
          (value: T) => {
            cancel();
            settleWith(value);
          };
        pending.set(id, { resolve: finish(resolve), reject: finish(reject), progress: onProgress });
        child.send({ ...request, id });
      });
    },
  };
}

function settle(pending: Map<number, Pending>, message: unknown): void {
  const reply = runnerReplySchema.parse(message);
  const call = pending.get(reply.id);
  if (call === undefined) return;
  if (reply.kind === "progress") {
    call.progress?.(reply.fraction);
    return;
  }
  pending.delete(reply.id);
  if (reply.kind === "answer") call.resolve(reply.value);
  else call.reject(new FleetError(codeOf(reply.code), reply.message));
}

function codeOf(code: string): ErrorCode {
  return isErrorCode(code) ? code : "runner-crashed";
}
