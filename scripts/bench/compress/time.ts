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
  /** NaN when the rival cannot. */
  readonly theirsMs: number;
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
  const theirsMs = await rivalTimeMs(subject, folder, { repeats, say });
  return { model: subject.name, oursMs, theirsMs, samples: samples.count };
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

/** Milliseconds that onnxruntime's quantizer says it took, the best of `repeats`. */
export async function rivalTimeMs(
  subject: Subject,
  folder: string,
  { repeats, say }: { repeats: number; say: (line: string) => void },
): Promise<number> {
  const model = path.join(folder, "source.onnx");
  fs.writeFileSync(model, subject.modelBytes);
  const input = inputJob(subject, calibrationOf(subject), folder);
  const job = { model, folder, input, grid: "core", repeats };
  const python = peerPython("onnxruntime", say);
  let theirsMs = Number.NaN;
  for await (const line of runDriver<{ seconds?: number }>({
    python,
    driver: "quantize.py",
    job,
    folder,
  })) {
    if (line.seconds !== undefined) theirsMs = line.seconds * 1_000;
  }
  return theirsMs;
}

export function timeRow({ model, oursMs, theirsMs, samples }: TimeResult): Row {
  return row("compress ms", model, `${samples} samples`, {
    fp32: null,
    ours: oursMs,
    theirs: theirsMs,
    figure: oursMs / theirsMs,
    note: "static int8 per channel, min-max, without start-up",
  });
}
