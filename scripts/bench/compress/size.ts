/** The smallest file of each side of a scheme. */
import { decodeModel } from "../../../controller/onnx/proto.ts";
import { tensorElements } from "../../../controller/onnx/tensor.ts";
import type { Row } from "../frame.ts";
import { row } from "./contest.ts";
import type { Subject } from "./subject.ts";
import { type Scheme, schemes, type Variant } from "./variant.ts";

export interface SizeResult {
  readonly model: string;
  readonly scheme: Scheme;
  readonly parameters: number;
  readonly sourceBytes: number;
  readonly oursBytes: number;
  /** NaN when the rivals have no file of the scheme. */
  readonly theirsBytes: number;
  readonly names: string;
}

/** One result per scheme in which we have a file. */
export function compareSizes(
  subject: Subject,
  ours: readonly Variant[],
  theirs: readonly Variant[],
): SizeResult[] {
  const parameters = parameterCount(subject.modelBytes);
  return schemes.flatMap((scheme) => {
    const [mine, rival] = [ours, theirs].map((side) => smallest(side, scheme));
    if (mine === undefined || scheme === "fp32") return [];
    return [
      {
        model: subject.name,
        scheme,
        parameters,
        sourceBytes: subject.modelBytes.length,
        oursBytes: mine.bytes.length,
        theirsBytes: rival?.bytes.length ?? Number.NaN,
        names: `${mine.name} / ${rival?.name ?? "none"}`,
      },
    ];
  });
}

function smallest(side: readonly Variant[], wanted: Scheme): Variant | undefined {
  return side
    .filter(({ scheme }) => scheme === wanted)
    .toSorted((a, b) => a.bytes.length - b.bytes.length)[0];
}

/** Numbers in the initializers and constants of the model. */
export function parameterCount(modelBytes: Uint8Array): number {
  const { graph } = decodeModel(modelBytes);
  const constants = graph!.node.flatMap(({ attribute }) => attribute.flatMap(({ t }) => t ?? []));
  return [...graph!.initializer, ...constants].reduce(
    (sum, tensor) => sum + tensorElements(tensor),
    0,
  );
}

export function sizeRow(result: SizeResult): Row {
  const { model, scheme, parameters, sourceBytes, oursBytes, theirsBytes, names } = result;
  return row("bytes", model, scheme, {
    fp32: sourceBytes,
    ours: oursBytes,
    theirs: theirsBytes,
    figure: oursBytes / theirsBytes,
    note: `${(sourceBytes / oursBytes).toFixed(2)}x smaller, ${parameters} parameters; ${names}`,
  });
}
