/**
 * The processes port with runners that compute nothing: each speaks the runner protocol for the
 * synthetic model of the file it was told to load, in virtual time.
 */
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import type { RunnerReply, RunnerRequest } from "../../../shared/inference/runner-protocol.ts";
import type { ChildHandle, Processes } from "../../../shared/ports/processes.ts";
import type { Random } from "../../../shared/prng.ts";
import { type Disk, lookUp } from "./disk.ts";
import type { Power } from "./effects.ts";
import {
  answerOf,
  classOf,
  decodeSynthetic,
  healthyModel,
  isMarked,
  type SyntheticModel,
  sampleAt,
  sampleCount,
  sampleIn,
} from "./synthetic-model.ts";
import type { VirtualTime } from "./time.ts";

const runtime = "1.30.0";
const startMs = 40;
const callMs = 0.2;
/** Memory of a process that has no model yet. */
const ramBaseBytes = 45_000_000;
/** Runs of one block differ by this much, one block from another by `busy`. */
const jitter = 0.04;

export interface SimProcesses extends Processes {
  /** SHA-256 of every model file that a living process has loaded. */
  loaded(): string[];
}

interface Child {
  readonly replies: ((message: unknown) => void)[];
  readonly exits: ((exit: { code: number | null; signal: string | null }) => void)[];
  exited: { code: number | null; signal: string | null } | undefined;
  /** By the number that requests carry. */
  readonly held: Map<number, Held>;
  freeAtMs: number;
}

interface Held {
  readonly model: SyntheticModel;
  readonly sha256: string;
  samples: Uint8Array;
  runs: number;
}

export function simProcesses(options: {
  time: VirtualTime;
  random: Random;
  disk: Disk;
  power: Power;
  guard: (work: () => void) => void;
}): SimProcesses {
  const { time, power, guard } = options;
  const children = new Set<Child>();
  let pids = 100;
  const exit = (child: Child, signal: string): void => {
    if (child.exited !== undefined) return;
    child.exited = { code: null, signal };
    children.delete(child);
    time.after(1, () => {
      if (!power.isOn()) return;
      for (const handler of child.exits) guard(() => handler({ code: null, signal }));
    });
  };
  const say = (child: Child, afterMs: number, message: RunnerReply): void => {
    child.freeAtMs = Math.max(child.freeAtMs, time.nowMs()) + afterMs;
    time.after(child.freeAtMs - time.nowMs(), () => {
      if (child.exited !== undefined || !power.isOn()) return;
      for (const handler of child.replies) guard(() => handler(message));
    });
  };
  return {
    loaded: () => [...children].flatMap(({ held }) => [...held.values()].map((one) => one.sha256)),
    fork(): ChildHandle {
      const child: Child = {
        replies: [],
        exits: [],
        exited: undefined,
        held: new Map(),
        freeAtMs: time.nowMs() + startMs,
      };
      orExit(child, () =>
        power.actNow({ kind: "process", name: "fork", perform: () => children.add(child) }),
      );
      return {
        pid: pids++,
        send(message) {
          const request = message as RunnerRequest;
          if (child.exited !== undefined || !power.isOn()) return false;
          orExit(child, () =>
            power.actNow({
              kind: "process",
              name: `ask ${request.call}`,
              perform: () => {
                const result = serve(options, child, request);
                if (result === "crash") exit(child, "SIGSEGV");
                else if (result !== "hang") say(child, result.tookMs, result.reply);
              },
            }),
          );
          return true;
        },
        onMessage: (handler) => {
          child.replies.push(handler);
        },
        onExit(handler) {
          child.exits.push(handler);
          if (child.exited !== undefined && power.isOn()) guard(() => handler(child.exited!));
        },
        kill: (signal = "SIGTERM") => exit(child, signal),
      };
    },
  };

  /** A fault at this effect is the death of the process. */
  function orExit(child: Child, work: () => void): void {
    try {
      work();
    } catch {
      exit(child, "SIGKILL");
    }
  }
}

type Served = "crash" | "hang" | { readonly tookMs: number; readonly reply: RunnerReply };

function serve(
  { disk, random }: { disk: Disk; random: Random },
  child: Child,
  request: RunnerRequest,
): Served {
  const { id } = request;
  const answer = (tookMs: number, value: unknown): Served => ({
    tookMs: tookMs + callMs,
    reply: { kind: "answer", id, value },
  });
  if (request.call === "load") return load(disk, child, request, answer);
  if (request.call === "time-costs") {
    const message = "a simulated device has no operators to time";
    return { tookMs: callMs, reply: { kind: "error", id, code: "costs-invalid", message } };
  }
  const held = "model" in request ? child.held.get(request.model) : undefined;
  if (!("model" in request) || held === undefined) {
    const message = "no model is loaded yet";
    return { tookMs: callMs, reply: { kind: "error", id, code: "model-missing", message } };
  }
  const { model } = held;
  switch (request.call) {
    case "set-samples": {
      held.samples = Object.values(request.samples)[0]?.data ?? new Uint8Array();
      return answer(0, Object.values(request.samples)[0]?.count ?? 0);
    }
    case "memory":
      return answer(0, { ramPeakBytes: model.ramPeakBytes, ramBaseBytes, loadMs: startMs });
    case "infer": {
      const sample = sampleIn(request.sample);
      return (
        ended(held, 1) ?? marked(model, sample) ?? answer(model.latencyMs, answerOf(model, sample))
      );
    }
    case "evaluate": {
      const count = sampleCount(held.samples);
      const top1 = Int32Array.from({ length: count }, (_, at) =>
        classOf(model, sampleAt(held.samples, at)),
      );
      return ended(held, count) ?? answer(count * model.latencyMs, { top1, outputs: [] });
    }
    case "benchmark": {
      const latenciesMs = Float64Array.from(
        { length: request.runs },
        () => model.latencyMs * (1 + jitter * (random.nextFloat() - 0.5)),
      );
      const tookMs = latenciesMs.reduce((sum, one) => sum + one, 0);
      return ended(held, request.runs) ?? answer(tookMs, { latenciesMs, cpuMs: tookMs });
    }
  }
}

function load(
  disk: Disk,
  child: Child,
  request: Extract<RunnerRequest, { call: "load" }>,
  answer: (tookMs: number, value: unknown) => Served,
): Served {
  const found = lookUp(disk, request.modelPath);
  const bytes = found?.kind === "file" ? found.content : undefined;
  // The probe's own nets come with the program and are not on the simulated disk.
  const model = bytes === undefined ? probeModel(request.modelPath) : decodeSynthetic(bytes);
  if (model === undefined) {
    const message = `${request.modelPath} is no model`;
    const reply = { kind: "error", id: request.id, code: "onnx-malformed", message } as const;
    return { tookMs: callMs, reply };
  }
  if (model.crashes === "loading") return "crash";
  const sha256 = bytes === undefined ? "" : sha256Hex(bytes);
  child.held.set(request.model, { model, sha256, samples: new Uint8Array(), runs: 0 });
  return answer(startMs, { onnxruntime: runtime });
}

function probeModel(path: string): SyntheticModel | undefined {
  return path.includes("/probe-models/") ? { ...healthyModel, name: "probe" } : undefined;
}

function marked({ onMark }: SyntheticModel, sample: Uint8Array): "crash" | "hang" | undefined {
  if (onMark === "answers" || !isMarked(sample)) return undefined;
  return onMark === "crashes" ? "crash" : "hang";
}

/** Counts runs; tells how the process ends within these, if it does. */
function ended(held: Held, runs: number): "crash" | "hang" | undefined {
  const { model } = held;
  const first = held.runs + 1;
  held.runs += runs;
  if (model.crashes === "first-run" && first === 1) return "crash";
  return model.hangsAtRun >= first && model.hangsAtRun <= held.runs ? "hang" : undefined;
}
