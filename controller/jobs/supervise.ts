/**
 * The parent's side of a compression worker.
 *
 * Invariants: a worker is killed on abort, after its time, and when a result cannot be kept; results are
 * handed on one at a time, in the order in which they came.
 */
import { FleetError, isErrorCode } from "../../shared/errors.ts";
import type { Clock } from "../../shared/ports/clock.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import {
  type WorkerMessage,
  type WorkOrder,
  type WorkResult,
  workerMessageSchema,
} from "./worker-protocol.ts";

const entry = new URL("./compress-worker-main.ts", import.meta.url);

export interface WorkerJob {
  readonly order: WorkOrder;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (fraction: number, message: string) => Promise<void>;
  readonly onResult: (result: WorkResult) => Promise<void>;
}

/** Errors: `job-failed`, the signal's reason, what the worker answers and what `onResult` throws. */
export function superviseWorker(
  ports: { readonly processes: Processes; readonly clock: Clock },
  job: WorkerJob,
): Promise<void> {
  const heapMegabytes = Math.ceil(job.order.memoryBytesMax / 2 ** 20);
  const child = ports.processes.fork(entry, {
    env: { NODE_OPTIONS: `--max-old-space-size=${heapMegabytes}` },
  });
  return new Promise((resolve, reject) => {
    let handling: Promise<void> = Promise.resolve();
    let failure: unknown;
    let done = false;
    const end = (error: unknown) => {
      failure ??= error;
      child.kill("SIGKILL");
    };
    const cancelTimeout = ports.clock.after(job.timeoutMs, () =>
      end(new FleetError("job-failed", `the job took longer than ${job.timeoutMs} ms`)),
    );
    const abort = () => end(job.signal.reason);
    job.signal.addEventListener("abort", abort);
    if (job.signal.aborted) abort();
    child.onMessage((raw) => {
      handling = handling.then(async () => {
        const message = workerMessageSchema.parse(raw);
        if (message.kind === "done") done = true;
        else if (message.kind === "error") end(errorOf(message));
        else await handle(job, message);
      });
      handling.catch(end);
    });
    child.onExit(({ code, signal }) => {
      cancelTimeout();
      job.signal.removeEventListener("abort", abort);
      const ended = () =>
        new FleetError("job-failed", `the worker ended (${signal ?? `code ${code}`})`);
      handling.then(() => {
        if (done && failure === undefined) resolve();
        else reject(failure ?? ended());
      }, reject);
    });
    child.send(job.order);
  });
}

type Handled = Extract<WorkerMessage, { kind: "progress" | "result" }>;

function handle(job: WorkerJob, message: Handled): Promise<void> {
  return message.kind === "progress"
    ? job.onProgress(message.fraction, message.message)
    : job.onResult(message.result);
}

function errorOf({ code, message }: Extract<WorkerMessage, { kind: "error" }>): FleetError {
  return new FleetError(isErrorCode(code) ? code : "job-failed", message);
}
