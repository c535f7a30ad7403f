/**
 * Parity with onnxruntime: the same scales and zero points from the same float model and samples, bit by bit;
 * and files that onnx.checker passes, that Python's onnxruntime loads, and that answer there what they answer
 * in onnxruntime-node.
 */
import fs from "node:fs";
import path from "node:path";
import { applyRecipe } from "../../../controller/compress/compress.ts";
import { weightRows } from "../../../controller/compress/quantize/weight-rows.ts";
import type { Recipe } from "../../../controller/compress/recipe.ts";
import { Model } from "../../../controller/onnx/model.ts";
import type { Node } from "../../../controller/onnx/node.ts";
import { factOf } from "../../../controller/onnx/ops/registry.ts";
import { tensorData, tensorFloats, tensorShape } from "../../../controller/onnx/tensor.ts";
import type { Row } from "../frame.ts";
import { answersOf } from "./answer.ts";
import { preparationRecipe } from "./candidates.ts";
import { row } from "./contest.ts";
import { peerPython, runDriver } from "./peers.ts";
import { inputJob } from "./rivals.ts";
import { calibrationOf, type Subject } from "./subject.ts";
import type { Variant } from "./variant.ts";
import { subjectWorkbench } from "./workbench.ts";

type Say = (line: string) => void;

export interface ParityResult {
  readonly model: string;
  readonly what: string;
  /** Things compared, and those that differ. */
  readonly compared: number;
  readonly different: readonly string[];
  /** Things that differ on purpose. */
  readonly excused?: number;
}

const forms = ["channel", "tensor"] as const;
/** Samples that both runtimes answer. */
const checkedCount = 8;

/** Scales and zero points of static int8 with observed extremes, per channel and per tensor. */
export async function compareScales(
  subject: Subject,
  folder: string,
  say: Say,
): Promise<ParityResult[]> {
  const workbench = subjectWorkbench(subject);
  const applied = async (modelBytes: Uint8Array, recipe: Recipe): Promise<Uint8Array> => {
    const made = await applyRecipe({ modelBytes, recipe, workbench });
    if (made.outcome === "made") return made.bytes;
    throw new Error(`${subject.name}: ${made.reason}`);
  };
  const prepared = await applied(subject.modelBytes, preparationRecipe());
  const model = path.join(folder, "prepared-by-us.onnx");
  fs.writeFileSync(model, prepared);
  const input = inputJob(subject, calibrationOf(subject), folder);
  const job = { model, folder, input, grid: "parity" };
  const python = peerPython("onnxruntime", say);
  const theirs = new Map<string, Uint8Array>();
  for await (const line of runDriver<{ recipe: string; file?: string; error?: string }>({
    python,
    driver: "quantize.py",
    job,
    folder,
  })) {
    if (line.file !== undefined)
      theirs.set(line.recipe, new Uint8Array(fs.readFileSync(line.file)));
  }
  const results: ParityResult[] = [];
  const excused = new Set([...behindPools(prepared), ...zeroChannels(prepared)]);
  for (const form of forms) {
    const rival = theirs.get(form);
    if (rival === undefined) continue;
    const ours = await applied(prepared, {
      name: form,
      summary: "Parity.",
      passes: [
        { pass: "quantize-static", optional: false, options: { perChannel: form === "channel" } },
      ],
    });
    const both = { ours: parametersOf(ours), theirs: parametersOf(rival), excused };
    results.push(difference(subject.name, `scales per ${form}`, both));
  }
  return results;
}

function difference(
  model: string,
  what: string,
  both: {
    ours: ReadonlyMap<string, string>;
    theirs: ReadonlyMap<string, string>;
    excused: ReadonlySet<string>;
  },
): ParityResult {
  const { ours, theirs, excused } = both;
  const shared = [...ours.keys()].filter((name) => theirs.has(name));
  const different = shared.filter((name) => ours.get(name) !== theirs.get(name));
  return {
    ...{ model, what, compared: shared.length },
    different: different.filter((name) => !excused.has(name)),
    excused: different.filter((name) => excused.has(name)).length,
  };
}

/** Operators that hand on the values of their input. */
const movers = ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"];

/**
 * Where scales differ on purpose: an average has a range of its own, which we use; onnxruntime's quantizer
 * gives it the range of what is averaged (1.30, quantization/registry.py: QDQDirect8BitOp). Biases behind it follow.
 */
function behindPools(file: Uint8Array): Set<string> {
  const found = new Set<string>();
  for (const node of Model.decode(file).graph.nodes) {
    const reads = found.has(node.input(0));
    if (node.opType === "AveragePool" || (reads && movers.includes(node.opType))) {
      found.add(node.outputs[0]!);
    }
    if (reads) found.add(`${node.name} 2`);
  }
  return found;
}

/**
 * Where scales differ on purpose: a channel whose weights are all 0 has no scale of its own. onnxruntime's
 * quantizer gives it 1, and in steps of that most of its bias is lost; ours keeps 24 bits of the bias.
 */
function zeroChannels(file: Uint8Array): string[] {
  const { graph } = Model.decode(file);
  return graph.nodes.flatMap((node) => {
    const fact = factOf(node)?.weight;
    const weight = graph.constant(node.input(fact?.input ?? -1));
    if (fact?.bias === undefined || weight === undefined) return [];
    const layout = fact.layout(node, tensorShape(weight));
    const { values, channels, length } = weightRows(tensorFloats(weight), layout);
    const isZero = (row: number): boolean =>
      values.subarray(row * length, (row + 1) * length).every((value) => value === 0);
    const hasZero = Array.from({ length: channels }, (_, row) => row).some(isZero);
    return hasZero ? [fact.input, fact.bias].map((input) => `${node.name} ${input}`) : [];
  });
}

/** Scale bits and zero points of every quantized value and of every constant, by what reads it. */
function parametersOf(file: Uint8Array): Map<string, string> {
  const { graph } = Model.decode(file);
  const found = new Map<string, string>();
  const parameters = (node: Node): string => {
    const scales = tensorFloats(graph.constant(node.input(1))!);
    const zeroPoint = graph.constant(node.input(2));
    const zeroPoints = zeroPoint === undefined ? [0] : [...tensorData(zeroPoint)];
    const bits = [...new Uint32Array(scales.slice().buffer)];
    return `${bits} ${[...new Set(zeroPoints.map(Number))]}`;
  };
  for (const node of graph.nodes) {
    if (node.is("QuantizeLinear") && graph.constant(node.input(1)) !== undefined) {
      found.set(node.input(0), parameters(node));
    }
    if (!node.is("DequantizeLinear") || graph.constant(node.input(0)) === undefined) continue;
    for (const reader of graph.consumersOf(node.outputs[0]!)) {
      found.set(`${reader.name} ${reader.inputs.indexOf(node.outputs[0]!)}`, parameters(node));
    }
  }
  return found;
}

/** Every file in onnx.checker and in both runtimes. */
export async function checkFiles(
  subject: Subject,
  variants: readonly Variant[],
  folder: string,
  say: Say,
): Promise<ParityResult> {
  const samples = calibrationOf(subject, checkedCount);
  const files = new Map(
    variants.map((variant, at) => [path.join(folder, `checked-${at}.onnx`), variant]),
  );
  for (const [file, { bytes }] of files) fs.writeFileSync(file, bytes);
  const job = { input: inputJob(subject, samples, folder), files: [...files.keys()] };
  const python = peerPython("onnxruntime", say);
  const different: string[] = [];
  for await (const line of runDriver<{ file: string; outputs?: string; error?: string }>({
    python,
    driver: "check.py",
    job,
    folder,
  })) {
    const variant = files.get(line.file)!;
    if (line.outputs === undefined) {
      different.push(`${variant.name}: ${line.error}`);
      continue;
    }
    const theirs = new Uint8Array(fs.readFileSync(line.outputs));
    // One sample at a time on both sides: kernels may sum batches in another order.
    const ours = await answersOf(variant.bytes, subject, samples, 1);
    const bytes = Buffer.concat(ours.map((answer) => new Uint8Array(answer.slice().buffer)));
    if (!bytes.equals(theirs)) different.push(`${variant.name}: other outputs`);
  }
  return { model: subject.name, what: "files in Python", compared: files.size, different };
}

export function parityRow(result: ParityResult): Row {
  const { model, what, compared, different, excused = 0 } = result;
  const note = different.length === 0 ? "bit-equal" : different.join("; ").slice(0, 400);
  return row("parity", model, what, {
    ...{ fp32: null, ours: compared, theirs: compared, figure: different.length },
    note: excused === 0 ? note : `${note}; ${excused} differ on purpose`,
  });
}
