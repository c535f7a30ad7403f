/** Memory of calibration: a process that observes 10,000 images against one that observes 100. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import type { Row } from "../frame.ts";
import { row } from "./contest.ts";
import { cifarJpegFile } from "./data/cifar.ts";

export interface MemoryResult {
  readonly fewBytes: number;
  readonly manyBytes: number;
}

/**
 * V8 lets the space of new objects grow to 48 MB within the first thousand images, whatever is kept; a fixed
 * one shows what calibration holds.
 */
const youngSpace = "--max-semi-space-size=4";
const few = 100;
const many = 10_000;

export async function compareMemory(say: (line: string) => void): Promise<MemoryResult> {
  const file = await cifarJpegFile("test", say);
  const main = path.join(import.meta.dirname, "memory-main.ts");
  const peak = (count: number): number => {
    say(`calibrating on ${count} images in a process of its own`);
    const printed = execFileSync(process.execPath, [youngSpace, main, file, String(count)], {
      encoding: "utf8",
    });
    return JSON.parse(printed).bytes;
  };
  return { fewBytes: peak(few), manyBytes: peak(many) };
}

export function memoryRow({ fewBytes, manyBytes }: MemoryResult): Row {
  return row("peak bytes", "resnet8", `${many} and ${few} images`, {
    ...{ fp32: null, ours: manyBytes, theirs: null, figure: manyBytes / fewBytes },
    note: `calibrating with histograms; ${few} images: ${fewBytes} bytes`,
  });
}
