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
  /** What the numbers alone take in the scheme's bits, without a scale, a name or a node: no file is smaller. */
  readonly weightsBytes: number;
  readonly names: string;
}

/** Bits in which a scheme stores a weight. */
const weightBits: Readonly<Record<Scheme, number>> = {
  ...{ "int8-channel": 8, "int8-tensor": 8, "int8-dynamic": 8 },
  ...{ w8: 8, w4: 4, w2: 2, fp16: 16, fp32: 32 },
};

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
        weightsBytes: (parameters * weightBits[scheme]) / 8,
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
  const floor = (result.weightsBytes / theirsBytes).toFixed(3);
  return row("bytes", model, scheme, {
    fp32: sourceBytes,
    ours: oursBytes,
    theirs: theirsBytes,
    figure: oursBytes / theirsBytes,
    note: `${(sourceBytes / oursBytes).toFixed(2)}x smaller, ${parameters} parameters, alone ${floor} of theirs; ${names}`,
  });
}
