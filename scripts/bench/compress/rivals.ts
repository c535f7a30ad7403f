/** Has the rivals compress a subject: each with every recipe it offers, on the same calibration samples. */
import fs from "node:fs";
import path from "node:path";
import { type Peer, peerPython, runDriver } from "./peers.ts";
import { calibrationOf, type Samples, type Subject } from "./subject.ts";
import type { Scheme, Variant } from "./variant.ts";

export interface Refusal {
  readonly recipe: string;
  readonly reason: string;
}

export interface Compressed {
  readonly variants: readonly Variant[];
  readonly refusals: readonly Refusal[];
}

type DriverLine =
  | { recipe: string; scheme: Scheme; file: string; seconds: number }
  | { recipe: string; scheme: string; error: string };

const drivers = [
  { peer: "onnxruntime", driver: "quantize.py" },
  { peer: "nncf", driver: "nncf_quantize.py" },
  { peer: "neural-compressor", driver: "neural_compressor_quantize.py" },
] as const satisfies readonly { peer: Peer; driver: string }[];

/** What every driver is told of a model's input; the samples go into a file in `folder`. */
export function inputJob(subject: Subject, samples: Samples, folder: string) {
  const { name, dtype, shape, isBatched } = subject.input;
  const file = path.join(folder, "samples.raw");
  const { buffer, byteOffset, byteLength } = samples.data;
  fs.writeFileSync(file, new Uint8Array(buffer, byteOffset, byteLength));
  return { name, dtype, shape: isBatched ? [1, ...shape] : shape, file, count: samples.count };
}

/** Files that the rivals made, and what they could not. */
export async function rivalVariants(
  subject: Subject,
  folder: string,
  say: (line: string) => void,
): Promise<Compressed> {
  const model = path.join(folder, "source.onnx");
  fs.writeFileSync(model, subject.modelBytes);
  const input = inputJob(subject, calibrationOf(subject), folder);
  const variants: Variant[] = [];
  const refusals: Refusal[] = [];
  for (const { peer, driver } of drivers) {
    const target = path.join(folder, peer);
    fs.mkdirSync(target, { recursive: true });
    try {
      const python = peerPython(peer, say);
      const job = { model, folder: target, input, grid: subject.grid };
      for await (const line of runDriver<DriverLine>({ python, driver, job, folder: target })) {
        const name = `${peer}/${line.recipe}`;
        if ("error" in line) refusals.push({ recipe: name, reason: line.error });
        else variants.push({ name, scheme: line.scheme, bytes: readBytes(line.file) });
      }
    } catch (error) {
      refusals.push({ recipe: peer, reason: error instanceof Error ? error.message : `${error}` });
    }
  }
  return { variants, refusals };
}

function readBytes(file: string): Uint8Array {
  return new Uint8Array(fs.readFileSync(file));
}
