/**
 * A golden set out of labelled texts, lines of JSON with `text`, `label` and optionally `slice`: texts as
 * uint8 [count, bytes], labels, slices, the manifest, and the interface by which a device makes tokens of them.
 *
 * Invariant: every text is stored whole; none is cut.
 */
import { z } from "zod";
import type { InputSpec, InputStep, ModelInterface } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import type { GoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { textSample } from "../../shared/inference/processing/text.ts";
import { classesOf, numberOf } from "../images/labelled-files.ts";
import { classifierOutput, labelledGolden, samplesBytesMax } from "../images/labelled-golden.ts";
import type { Graph } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";

export interface TextGolden {
  readonly manifest: GoldenManifest;
  /** By name, the manifest not included. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly interface: ModelInterface;
  readonly count: number;
}

export interface TextOptions {
  readonly name: string;
  /** In the model's order; those of the labels when left out. */
  readonly classes: readonly string[] | undefined;
  /** Tokens, for a model that leaves their number open. */
  readonly length: number | undefined;
  /** Bytes of a sample; twice the longest text, up to a power of two, when left out. */
  readonly bytes: number | undefined;
}

const lineSchema = z.object({
  text: z.string(),
  label: z.union([z.string().min(1).max(256), z.int().min(0)]).transform(String),
  slice: z.string().min(1).max(64).optional(),
});

/** Errors: `golden-invalid`, naming the line; `golden-mismatch` for a model that takes no tokens. */
export function goldenFromTexts(model: Model, jsonLines: string, options: TextOptions): TextGolden {
  const lines = jsonLines
    .split("\n")
    .map((line, at) => ({ line: line.trim(), at: at + 1 }))
    .filter(({ line }) => line !== "")
    .map(({ line, at }) => ({ at, ...parsed(line, at) }));
  if (lines.length === 0) throw invalid("there is no text");
  if (lines.some(({ slice }) => (slice === undefined) !== (lines[0]?.slice === undefined))) {
    throw invalid("some texts have a slice and others none: name one for each, or none");
  }
  const classes = options.classes ?? classesOf(lines.map(({ label }) => label));
  const labelled = lines.map(({ at, label, slice }) => ({
    label: numberOf(label, classes, `line ${at}`),
    ...(slice !== undefined && { region: slice }),
  }));
  const { bytes, content } = arrayOf(lines, options.bytes);
  const inputs = inputsOf(model.graph, bytes, options.length);
  const tensors = inputs.map(({ tensor }) => tensor);
  return {
    ...labelledGolden(options.name, { file: "texts.npy", content, tensors }, labelled),
    interface: { inputs, output: classifierOutput(model, classes) },
    count: lines.length,
  };
}

function parsed(line: string, at: number): z.infer<typeof lineSchema> {
  try {
    return lineSchema.parse(JSON.parse(line));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : "it is no JSON";
    throw new FleetError(
      "golden-invalid",
      `line ${at} is not {"text": …, "label": …, "slice": …}: ${why}`,
      { cause },
    );
  }
}

function arrayOf(
  lines: readonly { readonly at: number; readonly text: string }[],
  wanted: number | undefined,
): { bytes: number; content: Uint8Array } {
  const longest = lines.reduce((most, { text }) => Math.max(most, Buffer.byteLength(text)), 1);
  const bytes = wanted ?? 2 ** (Math.ceil(Math.log2(longest)) + 1);
  if (bytes * lines.length > samplesBytesMax) {
    throw invalid(`${lines.length} texts of ${bytes} bytes are too much: shorten them`);
  }
  const data = new Uint8Array(bytes * lines.length);
  for (const [index, { at, text }] of lines.entries()) {
    const sample = textSample(text, bytes);
    if (sample === undefined) throw invalid(`line ${at} has more than ${bytes} bytes`);
    data.set(sample, index * bytes);
  }
  return { bytes, content: encodeNpy({ dtype: "uint8", shape: [lines.length, bytes], data }) };
}

/** Each input takes tokens; which of their kinds is told by its name, as exporters give it. */
function inputsOf(graph: Graph, bytes: number, wanted: number | undefined): InputSpec[] {
  const fed = graph.inputNames.filter((name) => !graph.initializers.has(name));
  return fed.map((tensor): InputSpec => {
    const dtype = graph.declaredType(tensor);
    const declared = graph.declaredShape(tensor)?.at(-1);
    const length = typeof declared === "number" && declared > 0 ? declared : wanted;
    if (dtype !== "int64" && dtype !== "int32") {
      throw mismatch(`input ${tensor} is ${dtype}, tokens are int64 or int32`);
    }
    if (length === undefined) {
      throw mismatch(`the model leaves the length of input ${tensor} open: name it with --length`);
    }
    const yields = /mask/i.test(tensor)
      ? "attention-mask"
      : /type|segment/i.test(tensor)
        ? "token-types"
        : "ids";
    const steps: InputStep[] = [{ op: "tokenize", asset: "tokenizer.json", length, yields }];
    if (dtype === "int32") steps.push({ op: "cast", to: dtype });
    return { tensor, sample: { dtype: "uint8", shape: [bytes] }, steps };
  });
}

const invalid = (why: string) => new FleetError("golden-invalid", why);
const mismatch = (why: string) => new FleetError("golden-mismatch", why);
