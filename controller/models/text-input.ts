/** What must fit where a model takes text: samples, tokenizer and embedding. */
import { type InputSpec, tokenizeStep } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import { type GoldenSet, goldenSample } from "../../shared/evaluation/golden-set.ts";
import { textOf } from "../../shared/inference/processing/text.ts";
import type { TokenizerFile } from "../../shared/inference/processing/tokenizer-file.ts";
import type { Graph } from "../onnx/graph.ts";

/** Errors: `golden-mismatch` for an id without a row in the embedding, and for samples that are not UTF-8. */
export function checkTextInput(
  graph: Graph,
  input: InputSpec,
  golden: GoldenSet,
  tokenizer: TokenizerFile,
): void {
  const step = tokenizeStep(input);
  const rows = step?.yields === "ids" ? embeddingRows(graph, input.tensor) : undefined;
  if (rows !== undefined && tokenizer.idMax >= rows) {
    throw new FleetError(
      "golden-mismatch",
      `${step?.asset} has ids up to ${tokenizer.idMax}, the embedding of input ${input.tensor} has ${rows} rows`,
    );
  }
  const samples = golden.inputs[input.tensor];
  for (let index = 0; samples !== undefined && index < golden.count; index++) {
    try {
      textOf(goldenSample(samples, index));
    } catch (cause) {
      throw new FleetError(
        "golden-mismatch",
        `sample ${index} of input ${input.tensor} is not UTF-8 text, padded with zeros`,
        { cause },
      );
    }
  }
}

/**
 * Rows of the table that the ids of an input are looked up in, directly or after a cast; the fewest when
 * there are several, undefined when none is seen.
 */
function embeddingRows(graph: Graph, tensor: string): number | undefined {
  const rows = graph.consumersOf(tensor).flatMap((node): number[] => {
    if (node.is("Cast")) return [embeddingRows(graph, node.output(0)) ?? Infinity];
    // ONNX Gather: rows are counted along axis 0, the default.
    if (!node.is("Gather") || node.input(1) !== tensor || node.int("axis", 0) !== 0) return [];
    const size = graph.constant(node.input(0))?.dims[0];
    return size === undefined ? [] : [Number(size)];
  });
  const fewest = Math.min(...rows);
  return Number.isFinite(fewest) ? fewest : undefined;
}
