/**
 * Everything that adds no products of bytes runs in the runtime itself: nodes become a model of their own
 * that is loaded when it is first needed. So any operator that the runtime knows is emulated, to the bit
 * where it moves codes, and as floats come out on this machine where it computes with them.
 */
import { FleetError } from "../../../../shared/errors.ts";
import { makeGraph, makeModel, makeValueInfo } from "../../../onnx/build.ts";
import type { Model } from "../../../onnx/model.ts";
import type { Node } from "../../../onnx/node.ts";
import { encodeModel } from "../../../onnx/proto.ts";
import type { NodeProto, TensorProto, ValueInfoProto } from "../../../onnx/schema.ts";
import type { LoadedModel, TensorValue, Workbench } from "../../execute.ts";
import type { Step } from "../step.ts";

/** A step that owns a session while it is used. */
export interface RuntimeStep extends Step {
  readonly close: () => Promise<void>;
}

/** Runs these nodes in the runtime, fused as a device would; `load` absent throws `onnx-unsupported`. */
export function runtimeStep(
  model: Model,
  nodes: readonly Node[],
  load: Workbench["load"] | undefined,
): RuntimeStep {
  const { graph } = model;
  const made = new Set(nodes.flatMap((node) => node.outputs));
  const reads = new Set(nodes.flatMap((node) => [...node.inputs, ...node.captured]));
  const names = [...reads].filter((name) => name !== "" && !made.has(name));
  const constants = names.flatMap((name) => graph.constant(name) ?? []);
  const inputs = names.filter((name) => graph.constant(name) === undefined);
  const isLeaving = (name: string): boolean =>
    name !== "" &&
    (graph.isOutput(name) || graph.consumersOf(name).some((reader) => !nodes.includes(reader)));
  const outputs = nodes.flatMap((node) => node.outputs.filter(isLeaving));
  let loading: Promise<LoadedModel> | undefined;
  const loaded = (values: readonly TensorValue[]): Promise<LoadedModel> => {
    if (load === undefined) throw needsRuntime(nodes);
    const infos = inputs.map((name, at) => makeValueInfo(name, values[at]!.type));
    const parts = { nodes: nodes.map(({ proto }) => proto), constants, inputs: infos, outputs };
    loading ??= load(partBytes(model, parts), "all");
    return loading;
  };
  return {
    inputs,
    outputs,
    async run(values) {
      const part = await loaded(values);
      const results = await part.run(new Map(inputs.map((name, at) => [name, values[at]!])));
      return outputs.map((name) => results.get(name)!);
    },
    close: async () => (await loading)?.close(),
  };
}

/** The file of a model of these nodes, in the operator sets of the model they are from. */
function partBytes(
  model: Model,
  parts: {
    readonly nodes: readonly NodeProto[];
    readonly constants: readonly TensorProto[];
    readonly inputs: readonly ValueInfoProto[];
    readonly outputs: readonly string[];
  },
): Uint8Array<ArrayBuffer> {
  const others = model.domains.filter((domain) => domain !== "");
  const proto = makeModel({
    opset: model.opset,
    irVersion: model.irVersion,
    domains: Object.fromEntries(others.map((domain) => [domain, model.opsetOf(domain)!])),
    graph: makeGraph({
      nodes: parts.nodes,
      initializers: parts.constants,
      inputs: parts.inputs,
      // The runtime infers what they are.
      outputs: parts.outputs.map((name) => ({ name, metadataProps: [] })),
    }),
  });
  return encodeModel(proto);
}

function needsRuntime(nodes: readonly Node[]): FleetError {
  const operators = [...new Set(nodes.map(({ opType }) => opType))].join(", ");
  return new FleetError(
    "onnx-unsupported",
    `emulating ${operators} takes a runtime: call the emulation with one that loads models`,
  );
}
