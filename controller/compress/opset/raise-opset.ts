/**
 * Moves a model to a newer version of ONNX's operator set. Each operator is carried through every
 * version in between by its adapters; an operator without one kept its meaning.
 *
 * Invariants: operators that are not known, and operators inside branches and loops that would have to
 * change, are refused rather than guessed; a model that is refused is left as it was.
 */
import { FleetError, isFleetError } from "../../../shared/errors.ts";
import { irVersionOfOpset } from "../../onnx/build.ts";
import type { Model } from "../../onnx/model.ts";
import type { GraphProto, NodeProto } from "../../onnx/schema.ts";
import { subgraphsOf } from "../../onnx/subgraph.ts";
import type { Workbench } from "../execute.ts";
import { inferRanks } from "../infer-shapes.ts";
import { cannotConvert, type OpsetAdapter } from "./adapter.ts";
import { adaptersTo13 } from "./adapters-to-13.ts";
import { adaptersTo21 } from "./adapters-to-21.ts";
import { knownOperators } from "./known-operators.ts";

/** Operator sets that can be left and reached. */
export const opsetRange = { min: 7, max: 21 } as const;

const opsetAdapters: readonly OpsetAdapter[] = [...adaptersTo13, ...adaptersTo21];

/** The version in which operators over the flattened value became ones along an axis. */
const axisOpset = 13;
const axisOps = new Set(["Softmax", "LogSoftmax", "Hardmax"]);

/** Control flow itself kept its meaning; what is inside is looked at step by step. */
const controlFlow = new Set(["If", "Loop", "Scan"]);

export interface RaisedOpset {
  readonly from: number;
  readonly to: number;
  /** Nodes that were rewritten. */
  readonly converted: number;
}

/**
 * Lets the model import operator set `target` at least; one that has it is left alone. The workbench
 * tells ranks that rules do not. Throws `onnx-unsupported` for what cannot be moved.
 */
export async function raiseOpset(
  model: Model,
  target: number,
  workbench?: Workbench | undefined,
): Promise<RaisedOpset> {
  const from = model.opset;
  if (from >= target) return { from, to: from, converted: 0 };
  refuseUnknown(model);
  // On a copy first: a refusal in the middle must not leave half of the nodes converted.
  const ranks = await neededRanks(model, target, workbench);
  convert(model.clone(), target, ranks);
  return { from, to: target, converted: convert(model, target, ranks) };
}

/** As `raiseOpset`, but says why the model cannot be moved. */
export async function tryRaiseOpset(
  model: Model,
  target: number,
  workbench?: Workbench | undefined,
): Promise<string | undefined> {
  try {
    await raiseOpset(model, target, workbench);
    return undefined;
  } catch (error) {
    if (isFleetError(error, "onnx-unsupported")) return error.message;
    throw error;
  }
}

function neededRanks(
  model: Model,
  target: number,
  workbench: Workbench | undefined,
): Promise<ReadonlyMap<string, number>> {
  const crosses = model.opset < axisOpset && target >= axisOpset;
  const users = crosses ? model.graph.nodes.filter(({ opType }) => axisOps.has(opType)) : [];
  return inferRanks(
    model,
    workbench,
    users.map((node) => node.input(0)),
  );
}

function convert(model: Model, target: number, ranks: ReadonlyMap<string, number>): number {
  let converted = 0;
  for (let version = model.opset + 1; version <= target; version++) {
    converted += step(model, version, ranks);
  }
  model.setOpset("", target);
  model.setIrVersion(Math.max(model.irVersion, irVersionOfOpset(target)));
  return converted;
}

/** Converts what changed in `version`; returns how many nodes that were. */
function step(model: Model, version: number, ranks: ReadonlyMap<string, number>): number {
  const { graph } = model;
  const adapters = new Map<string, OpsetAdapter>();
  for (const adapter of opsetAdapters) {
    if (adapter.version === version) adapters.set(adapter.opType, adapter);
  }
  let converted = 0;
  for (const node of graph.nodes) {
    for (const inner of subgraphsOf(node.proto)) refuseChanged(inner, adapters);
    const adapter = node.domain === "" ? adapters.get(node.opType) : undefined;
    if (adapter === undefined) continue;
    adapter.convert({ graph, node, rankOf: (name) => ranks.get(name) });
    converted++;
  }
  return converted;
}

function refuseUnknown(model: Model): void {
  if (model.opset < opsetRange.min) {
    throw new FleetError(
      "onnx-unsupported",
      `operator set ${opsetRange.min} or newer is needed, the model has ${model.opset}: export it again`,
    );
  }
  for (const node of model.graph.nodes) {
    if (node.domain !== "" || knownOperators.has(node.opType) || controlFlow.has(node.opType)) {
      continue;
    }
    throw cannotConvert(node, "its history is not known");
  }
  if (!model.hasFunctions) return;
  throw new FleetError(
    "onnx-unsupported",
    "the model defines operators of its own, whose operator set cannot be moved: export it again",
  );
}

function refuseChanged(graph: GraphProto, adapters: ReadonlyMap<string, OpsetAdapter>): void {
  const refuse = (node: NodeProto): FleetError =>
    new FleetError(
      "onnx-unsupported",
      `${node.opType} inside a branch or loop cannot be moved to a newer operator set: export the model again`,
    );
  for (const node of graph.node) {
    const opType = node.opType ?? "";
    const isKnown = knownOperators.has(opType) || controlFlow.has(opType);
    if ((node.domain ?? "") === "" && (adapters.has(opType) || !isKnown)) throw refuse(node);
    for (const inner of subgraphsOf(node)) refuseChanged(inner, adapters);
  }
}
