/**
 * Turns an inference model into a training graph: an ordinary ONNX model that takes the weights as
 * inputs and yields the loss, one gradient per weight and the batch statistics of normalisations.
 * Any runtime that runs ONNX can then train; the optimizer stays outside.
 *
 * Invariants: the given model is not changed; weight names stay, so trained values go back by name;
 * the batch size is the one that `shapes` was taken at.
 */
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import { irVersionOfOpset, makeGraph, makeModel, makeNode, makeValueInfo } from "../onnx/build.ts";
import { dataTypes } from "../onnx/data-type.ts";
import { Node, normalDomain } from "../onnx/node.ts";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "../onnx/schema.ts";
import { makeTensor, tensorFloats, tensorShape } from "../onnx/tensor.ts";
import { activeValues, knownRule, writeBackward, writeForward } from "./differentiate.ts";
import type { StateUpdate } from "./gradient-rule.ts";
import { createGraphDraft, type GraphDraft } from "./graph-draft.ts";
import type { Loss, ShapedValue } from "./loss.ts";

/** The backward parts use ReduceSum with axes as an input (opset 13). */
const opsetMin = 13;
/** ScatterElements with `reduction` exists from 16 on; 13 to 17 mean the same for all other rules. */
const trainingOpsetMin = 17;

export interface TrainingGraphOptions {
  readonly model: ModelProto;
  /** Shapes of all values at the training batch, inputs included; see `shapeProbe`. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly loss: Loss;
  /** The model output that the loss judges; the first one by default. */
  readonly output?: string;
  /** Which float32 initializers learn; by default all that operators use as weights. */
  readonly isTrainable?: (initializer: string) => boolean;
}

export interface TrainedParameter extends ShapedValue {
  /** The value in the given model, to be read only. */
  readonly initial: Float32Array;
  /** Output of the training graph. */
  readonly gradient: string;
}

export interface TrainedState extends ShapedValue {
  readonly initial: Float32Array;
  /** Output of the training graph: this batch's statistic. */
  readonly batchValue: string;
  /** new = keep · old + (1 − keep) · batch. */
  readonly keepFraction: number;
}

export interface TrainingGraph {
  /** Inputs: the model's, the loss's, and one per parameter under its own name. */
  readonly model: ModelProto;
  /** Output with the scalar loss. */
  readonly loss: string;
  readonly parameters: readonly TrainedParameter[];
  readonly states: readonly TrainedState[];
}

/**
 * The same model with every computed value as an output. Running it once on a batch tells the
 * shapes that `buildTrainingGraph` wants, without a shape rule per operator.
 */
export function shapeProbe(model: ModelProto): ModelProto {
  const graph = graphOf(model);
  const known = new Set(graph.output.map(({ name }) => name));
  const values = graph.node.flatMap((node) => node.output).filter((name) => name !== "");
  const added = values
    .filter((name) => !known.has(name))
    // The runtime infers type and shape of an output that says neither.
    .map((name) => ({ name, metadataProps: [] }));
  return { ...model, graph: { ...graph, output: [...graph.output, ...added] } };
}

/**
 * Builds the training graph. Throws `onnx-unsupported` when the model's opset is below 13, an
 * operator between a weight and the output has no gradient rule, or no weight would learn.
 */
export function buildTrainingGraph(options: TrainingGraphOptions): TrainingGraph {
  const graph = graphOf(options.model);
  const nodes = graph.node.map((proto) => new Node(proto));
  const initializers = new Map(graph.initializer.map((tensor) => [tensor.name ?? "", tensor]));
  const shapes = new Map(options.shapes);
  for (const [name, tensor] of initializers) shapes.set(name, tensorShape(tensor));
  const trainable = trainableNames(nodes, initializers, options.isTrainable);

  const draft = createGraphDraft({ takenNames: valueNames(graph), shapes });
  const active = activeValues(nodes, trainable);
  const forward = writeForward({ nodes, write: draft, copy: draft.copyNode, active });
  const output = options.output ?? graph.output[0]?.name ?? "";
  const loss = options.loss.build(draft, { name: output, shape: draft.shapeOf(output) });
  const seeds = new Map([[output, loss.gradient]]);
  const gradients = writeBackward({ nodes, write: draft, active, forward, seeds });

  const parameters = trainable.flatMap((name) => {
    const from = gradients.get(name);
    if (from === undefined) return [];
    const gradient = draft.freshName(`gradient/${name}`);
    draft.emitNamed("Identity", [from], [gradient]);
    const initial = tensorFloats(initializers.get(name)!);
    return [{ name, shape: draft.shapeOf(name), initial, gradient }];
  });
  if (parameters.length === 0) {
    throw new FleetError("onnx-unsupported", "no weight of this model would learn");
  }
  const states = forward.states.map((update) => trainedState(update, draft, initializers));
  const inputs = [...graphInputs(graph, initializers, shapes), ...loss.inputs, ...parameters];
  const model = assemble({
    options,
    draft,
    initializers,
    inputs,
    outputs: [
      { name: loss.loss, shape: [] },
      ...parameters.map(({ gradient, shape }) => ({ name: gradient, shape })),
      ...states.map(({ batchValue, shape }) => ({ name: batchValue, shape })),
    ],
  });
  return { model, loss: loss.loss, parameters, states };
}

/** The model with other values in the named float32 initializers, whose shapes stay. */
export function withWeights(
  model: ModelProto,
  weights: ReadonlyMap<string, Float32Array>,
): ModelProto {
  const graph = graphOf(model);
  const initializer = graph.initializer.map((tensor) => {
    const name = tensor.name ?? "";
    const data = weights.get(name);
    if (data === undefined) return tensor;
    return makeTensor({ name, type: "float32", shape: tensorShape(tensor), data });
  });
  return { ...model, graph: { ...graph, initializer } };
}

function graphOf(model: ModelProto): GraphProto {
  assert(model.graph !== undefined, "a decoded or made model has a graph");
  return model.graph;
}

function valueNames(graph: GraphProto): Set<string> {
  return new Set([
    ...graph.input.map(({ name }) => name ?? ""),
    ...graph.initializer.map(({ name }) => name ?? ""),
    ...graph.node.flatMap((node) => [...node.input, ...node.output]),
  ]);
}

/**
 * By default what operators use as weights, without scalars: those are taken for constants of the
 * computation, such as a division by 6. A caller's choice is among all float32 initializers.
 */
function trainableNames(
  nodes: readonly Node[],
  initializers: ReadonlyMap<string, TensorProto>,
  isTrainable: ((name: string) => boolean) | undefined,
): string[] {
  const weights = nodes.flatMap((node) => {
    const positions = knownRule(node)?.weightInputs ?? [];
    return positions.map((position) => node.inputs[position] ?? "");
  });
  const candidates = isTrainable === undefined ? new Set(weights) : initializers.keys();
  return [...candidates].filter((name) => {
    const tensor = initializers.get(name);
    if (tensor?.dataType !== dataTypes.float32.code) return false;
    return isTrainable === undefined ? tensorShape(tensor).length > 0 : isTrainable(name);
  });
}

function trainedState(
  update: StateUpdate,
  draft: GraphDraft,
  initializers: ReadonlyMap<string, TensorProto>,
): TrainedState {
  const tensor = initializers.get(update.state);
  if (tensor === undefined) {
    throw new FleetError(
      "onnx-unsupported",
      `running statistics ${update.state} are computed, not stored: freeze the layer`,
    );
  }
  const { batchValue, keepFraction } = update;
  const initial = tensorFloats(tensor);
  return {
    name: update.state,
    shape: draft.shapeOf(update.state),
    initial,
    batchValue,
    keepFraction,
  };
}

/** The inputs that a caller feeds; older files list initializers among the inputs as well. */
function graphInputs(
  graph: GraphProto,
  initializers: ReadonlyMap<string, TensorProto>,
  shapes: ReadonlyMap<string, readonly number[]>,
): ShapedValue[] {
  return graph.input
    .filter(({ name }) => !initializers.has(name ?? ""))
    .map(({ name, type }) => {
      if (type?.tensorType?.elemType !== dataTypes.float32.code) {
        throw new FleetError(
          "onnx-unsupported",
          `input ${name} is not float32: freeze what reads it`,
        );
      }
      const shape = shapes.get(name ?? "");
      assert(shape !== undefined, `the shape of input ${name} was not given`);
      return { name: name ?? "", shape };
    });
}

function assemble(parts: {
  readonly options: TrainingGraphOptions;
  readonly draft: GraphDraft;
  readonly initializers: ReadonlyMap<string, TensorProto>;
  readonly inputs: readonly ShapedValue[];
  readonly outputs: readonly ShapedValue[];
}): ModelProto {
  const { options, draft, inputs } = parts;
  const source = graphOf(options.model);
  const nodes = draft.nodes.map((node): NodeProto => {
    if (node.kind === "copy") return source.node[node.index]!;
    return makeNode(node);
  });
  const fed = new Set(inputs.map(({ name }) => name));
  const read = new Set(nodes.flatMap((node) => [...node.input, ...new Node(node).captured]));
  const frozen = [...parts.initializers.values()].filter(
    ({ name }) => read.has(name ?? "") && !fed.has(name ?? ""),
  );
  const constants = draft.constants.map(({ name, shape, data }) =>
    data instanceof Float32Array
      ? makeTensor({ name, type: "float32", shape, data })
      : makeTensor({ name, type: "int64", shape, data }),
  );
  const info = ({ name, shape }: ShapedValue) => makeValueInfo(name, "float32", shape);
  const opset = Math.max(opsetOf(options.model), trainingOpsetMin);
  const model = makeModel({
    opset,
    irVersion: Math.max(irVersionOfOpset(opset), Number(options.model.irVersion ?? 0n)),
    graph: makeGraph({
      name: "training",
      nodes,
      inputs: inputs.map(info),
      outputs: parts.outputs.map(info),
      initializers: [...frozen, ...constants],
    }),
  });
  const others = options.model.opsetImport.filter(({ domain }) => normalDomain(domain) !== "");
  return {
    ...model,
    opsetImport: [...model.opsetImport, ...others],
    functions: options.model.functions,
  };
}

function opsetOf(model: ModelProto): number {
  const version =
    model.opsetImport.find(({ domain }) => normalDomain(domain) === "")?.version ?? 0n;
  if (version >= BigInt(opsetMin)) return Number(version);
  throw new FleetError(
    "onnx-unsupported",
    `training needs opset ${opsetMin} or newer, the model has ${version}: convert it first`,
    { details: { opset: Number(version) } },
  );
}
