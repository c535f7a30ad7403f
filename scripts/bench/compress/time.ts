/**
 * Time to compress: static int8 per channel with observed extremes, from a model and samples in memory to the
 * file, without start-up and imports on both sides; the best of a few.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { applyRecipe } from "../../../controller/compress/compress.ts";
import { systemClock } from "../../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../../shared/adapters/system-processes.ts";
import { type Helper, helpersFor, startHelper } from "../../../shared/inference/helper.ts";
import type { Row } from "../frame.ts";
import { timedRecipe } from "./candidates.ts";
import { row } from "./contest.ts";
import { peerPython, runDriver } from "./peers.ts";
import { inputJob } from "./rivals.ts";
import { calibrationOf, type Subject } from "./subject.ts";
import { subjectWorkbench } from "./workbench.ts";

export interface TimeResult {
  readonly model: string;
  readonly oursMs: number;
  /** Of the quantizer alone, on a model that was prepared before; ours prepares within its time. NaN: it cannot. */
  readonly theirsMs: number;
  /** With `quant_pre_process`, which onnxruntime advises to run before. */
  readonly theirsPreparedMs: number;
  readonly samples: number;
}

const repeats = 3;

export async function compareTimes(
  subject: Subject,
  folder: string,
  say: (line: string) => void,
): Promise<TimeResult> {
  const samples = calibrationOf(subject);
  const oursMs = await ourTimeMs(subject);
  const theirs = await rivalTimesMs(subject, folder, { repeats, say });
  return {
    model: subject.name,
    oursMs,
    theirsMs: theirs.get("quantized") ?? Number.NaN,
    theirsPreparedMs: theirs.get("prepared and quantized") ?? Number.NaN,
    samples: samples.count,
  };
}

/** In this process and as many helpers as a compression worker has, which are started before. */
async function ourTimeMs(subject: Subject): Promise<number> {
  const ports = { processes: systemProcesses(), clock: systemClock() };
  const helpers: Helper[] = [];
  try {
    while (helpers.length < helpersFor(os.availableParallelism())) {
      helpers.push(await startHelper(ports));
    }
    const recipe = timedRecipe();
    const workbench = subjectWorkbench(subject, { helpers });
    let leastMs = Number.POSITIVE_INFINITY;
    for (let repeat = 0; repeat < repeats; repeat++) {
      const startMs = performance.now();
      await applyRecipe({ modelBytes: subject.modelBytes, recipe, workbench });
      leastMs = Math.min(leastMs, performance.now() - startMs);
    }
    return leastMs;
  } finally {
    for (const helper of helpers) await helper.close();
  }
}

/** Milliseconds that onnxruntime's quantizer says it took by recipe, the best of `repeats`. */
export async function rivalTimesMs(
  subject: Subject,
  folder: string,
  { repeats, only, say }: { repeats: number; only?: string; say: (line: string) => void },
): Promise<Map<string, number>> {
  const model = path.join(folder, "source.onnx");
  fs.writeFileSync(model, subject.modelBytes);
  const input = inputJob(subject, calibrationOf(subject), folder);
  const job = { model, folder, input, grid: "core", repeats, only };
  const python = peerPython("onnxruntime", say);
  const timesMs = new Map<string, number>();
  for await (const line of runDriver<{ recipe: string; seconds?: number }>({
    python,
    driver: "quantize.py",
    job,
    folder,
  })) {
    if (line.seconds !== undefined) timesMs.set(line.recipe, line.seconds * 1_000);
  }
  return timesMs;
}

export function timeRow({ model, oursMs, theirsMs, theirsPreparedMs, samples }: TimeResult): Row {
  return row("compress ms", model, `${samples} samples`, {
    fp32: null,
    ours: oursMs,
    theirs: theirsMs,
    figure: oursMs / theirsMs,
    note: `static int8 per channel, min-max, without start-up; theirs with its preparation ${theirsPreparedMs.toFixed(0)} ms`,
  });
}
