/**
 * Element types and shapes of all values of a model. Rules (`controller/onnx/ranks.ts`) say most of it
 * without running anything; where they end, the model is run once with every value as an output.
 *
 * What a run tells is true for its inputs alone: ranks and element types hold for others too, lengths
 * only where they do not hang on the inputs. onnxruntime infers the type of an output that declares
 * none (graph.cc, InferAndVerifyTypeMatch), so values of any type can be looked at. Lengths that hold for
 * all inputs are asked of the runtime, which infers them when it loads the model.
 *
 * Invariant: values are fetched a bounded number at a time, so memory does not grow with the graph.
 */
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { type DataType, dataTypes } from "../onnx/data-type.ts";
import type { Dim } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import { valueRanks } from "../onnx/ranks.ts";
import type { Feeds, LoadedHere, TensorValue, Workbench } from "./execute.ts";

export interface ValueFact {
  readonly type: DataType;
  /** Lengths in the run that was looked at. */
  readonly shape: readonly number[];
}

/** Values that one run yields. */
const valuesPerRun = 128;

/** Their values are no tensors, so they cannot be outputs here. */
const sequenceOps = new Set(
  ["SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"].concat(
    ["SequenceMap", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement"],
    ["ConcatFromSequence", "SequenceLength"],
  ),
);

/**
 * Type and shape of every tensor of the graph, inside branches and loops excepted, when the model runs
 * on the first calibration sample; without one that fits, on zeros where all inputs have fixed shapes.
 * Undefined when there is nothing to run on. Throws `onnx-unsupported` when the run fails.
 */
export async function inferShapes(
  model: Model,
  workbench: Workbench,
): Promise<ReadonlyMap<string, ValueFact> | undefined> {
  const sample = await firstSample(workbench);
  const feeds = sample !== undefined && fits(model, sample) ? sample : zeroFeeds(model);
  if (feeds === undefined) return undefined;
  const facts = new Map<string, ValueFact>();
  const note = (name: string, { type, shape }: TensorValue): void => {
    if (type in dataTypes) facts.set(name, { type, shape });
  };
  for (const [name, value] of feeds) note(name, value);
  for (const name of model.graph.initializers.keys()) {
    const [type, shape] = [model.graph.declaredType(name), model.graph.declaredShape(name)];
    if (type !== undefined) facts.set(name, { type, shape: shape as number[] });
  }
  const names = tensorNames(model);
  for (let from = 0; from < names.length; from += valuesPerRun) {
    const part = names.slice(from, from + valuesPerRun);
    for (const [name, value] of await observe(model, part, feeds, workbench)) note(name, value);
  }
  return facts;
}

/**
 * Rank of every value as far as it can be told: by rules, and by a run when `wanted` names a value
 * that the rules say nothing of and there is something to run on.
 */
export async function inferRanks(
  model: Model,
  workbench: Workbench | undefined,
  wanted: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const ranks = valueRanks(model.graph);
  if (workbench === undefined || wanted.every((name) => name === "" || ranks.has(name))) {
    return ranks;
  }
  for (const [name, { shape }] of (await inferShapes(model, workbench)) ?? []) {
    ranks.set(name, shape.length);
  }
  return ranks;
}

/** Lengths of a value: a number that holds for all inputs, a name that stands for one length, or null. */
export type LengthsOf = (name: string) => readonly Dim[] | undefined;

/**
 * What the file declares and, with a workbench, what the runtime infers by the rules of the operators. A file
 * that it refuses when all values are outputs tells no more than it declares.
 */
export async function inferLengths(
  model: Model,
  workbench: Workbench | undefined,
): Promise<LengthsOf> {
  const { graph } = model;
  const inferred = workbench === undefined ? undefined : await lengthsAtLoad(model, workbench);
  return (name) => {
    const lengths = inferred?.get(name);
    if (lengths === undefined || lengths.length === 0) return graph.declaredShape(name);
    return lengths.map((length) => (isLength(length) ? length : null));
  };
}

/** The runtime gives a length that it knows nothing of no name, or a negative number. */
function isLength(length: number | string): boolean {
  return typeof length === "number" ? length >= 0 : length !== "";
}

async function lengthsAtLoad(
  model: Model,
  workbench: Workbench,
): Promise<LoadedHere["outputShapes"] | undefined> {
  try {
    const loaded = await workbench.load(withOutputs(model, tensorNames(model)));
    await loaded.close();
    return loaded.outputShapes;
  } catch (error) {
    if (isFleetError(error, "onnx-malformed")) return undefined;
    throw error;
  }
}

/** The file with these values for outputs. */
function withOutputs(model: Model, names: readonly string[]): Uint8Array {
  const watched = model.clone();
  watched.graph.setOutputInfos(names.map((name) => ({ name, metadataProps: [] })));
  return watched.encode();
}

async function observe(
  model: Model,
  names: readonly string[],
  feeds: Feeds,
  workbench: Workbench,
): Promise<ReadonlyMap<string, TensorValue>> {
  try {
    const loaded = await workbench.load(withOutputs(model, names));
    try {
      return await loaded.run(feeds);
    } finally {
      await loaded.close();
    }
  } catch (cause) {
    const shapes = [...feeds].map(([name, { shape }]) => `${name} [${shape}]`).join(", ");
    throw new FleetError(
      "onnx-unsupported",
      `the model does not run on inputs of these shapes: ${shapes}; give the shapes it was exported for`,
      { details: { shapes }, cause },
    );
  }
}

/** What nodes make and a run can yield. */
function tensorNames({ graph }: Model): string[] {
  return graph.nodes
    .filter((node) => !sequenceOps.has(node.opType))
    .flatMap((node) => node.outputs.filter((name) => name !== ""));
}

/** The first calibration sample; undefined when there is none. */
export async function firstSample(workbench: Workbench): Promise<Feeds | undefined> {
  for await (const feeds of workbench.calibration()) return feeds;
  return undefined;
}

/** Whether a sample has the fixed lengths that the inputs declare. */
function fits({ graph }: Model, sample: Feeds): boolean {
  return graph.inputNames.every((name) => {
    if (graph.initializers.has(name)) return true;
    const shape = sample.get(name)?.shape;
    const declared = graph.declaredShape(name) ?? shape ?? [];
    return (
      shape?.length === declared.length &&
      declared.every((dim, at) => typeof dim !== "number" || dim === shape[at])
    );
  });
}

/** Zeros of the declared shapes; undefined when one is not fixed. */
function zeroFeeds({ graph }: Model): Feeds | undefined {
  const feeds = new Map<string, TensorValue>();
  for (const name of graph.inputNames) {
    if (graph.initializers.has(name)) continue;
    const [type, shape] = [graph.declaredType(name), graph.declaredShape(name)];
    if (type === undefined || shape === undefined) return undefined;
    const lengths = shape.filter((dim) => typeof dim === "number");
    if (lengths.length < shape.length) return undefined;
    const count = lengths.reduce((product, dim) => product * dim, 1);
    const { array, bits } = dataTypes[type];
    const data = new array(new ArrayBuffer(Math.ceil((count * bits) / 8)), 0, count);
    feeds.set(name, { type, shape: lengths, data });
  }
  return feeds;
}
