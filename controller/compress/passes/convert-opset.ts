/**
 * Moves a model to a newer version of ONNX's operator set, since exporters stopped at 9 or 11 and
 * per-channel quantization needs 13. Each operator is carried through every version in between.
 *
 * Models from before version 9, operators that are not known, and operators inside branches and loops
 * that would have to change are refused rather than guessed.
 */
import { z } from "zod";
import { FleetError } from "../../../shared/errors.ts";
import { irVersionOfOpset } from "../../onnx/build.ts";
import type { Model } from "../../onnx/model.ts";
import { valueRanks } from "../../onnx/ranks.ts";
import type { GraphProto, NodeProto } from "../../onnx/schema.ts";
import { subgraphsOf } from "../../onnx/subgraph.ts";
import { cannotConvert, type OpsetAdapter } from "../opset/adapter.ts";
import { opsetAdapters } from "../opset/adapters.ts";
import { knownOperators } from "../opset/known-operators.ts";
import { definePass, exactTolerance } from "../pass.ts";

const opsetMin = 9;

export const convertOpset = definePass({
  name: "convert-opset",
  summary: "Moves the model to a newer operator set.",
  options: z.strictObject({
    /** Version to reach; models that have it or a newer one are left alone. */
    target: z.int().min(opsetMin).max(13).default(13),
  }),
  tolerance: exactTolerance,
  requires(model) {
    if (model.opset >= opsetMin) return undefined;
    return `operator set ${opsetMin} or newer is needed, the model has ${model.opset}: export it again`;
  },
  run(_context, model, { target }) {
    const from = model.opset;
    if (from >= target) return { modified: false, report: { from, to: from, converted: 0 } };
    refuseUnknown(model);
    let converted = 0;
    for (let version = from + 1; version <= target; version++) converted += step(model, version);
    model.setOpset("", target);
    model.setIrVersion(Math.max(model.irVersion, irVersionOfOpset(target)));
    return { modified: true, report: { from, to: target, converted } };
  },
  ensures(model, { target }) {
    return model.opset >= target ? undefined : `the operator set is ${model.opset}`;
  },
});

/** Converts what changed in `version`; returns how many nodes that were. */
function step(model: Model, version: number): number {
  const { graph } = model;
  const adapters = new Map<string, OpsetAdapter>();
  for (const adapter of opsetAdapters) {
    if (adapter.version === version) adapters.set(adapter.opType, adapter);
  }
  const ranks = valueRanks(graph);
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
  // Control flow itself kept its meaning; what is inside is looked at step by step.
  const controlFlow = new Set(["If", "Loop", "Scan"]);
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
    const isChanged = adapters.has(node.opType ?? "") || !knownOperators.has(node.opType ?? "");
    if ((node.domain ?? "") === "" && isChanged) throw refuse(node);
    for (const inner of subgraphsOf(node)) refuseChanged(inner, adapters);
  }
}
