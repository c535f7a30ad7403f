/**
 * How one operator moves from one version of ONNX's operator set to the next. Operators without an
 * adapter for a step kept their meaning in it.
 */
import { FleetError } from "../../../shared/errors.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { floatTensor, intTensor } from "../../onnx/tensor.ts";

export interface AdapterContext {
  readonly graph: Graph;
  readonly node: Node;
  /** Rank of a value where it is known. */
  readonly rankOf: (name: string) => number | undefined;
}

export interface OpsetAdapter {
  readonly opType: string;
  /** The version in which the operator changed. */
  readonly version: number;
  /** Rewrites the node, given in the form of `version` - 1, to that of `version`. */
  readonly convert: (context: AdapterContext) => void;
}

/** Adds an int64 constant and returns its name. */
export function addInts(graph: Graph, hint: string, values: readonly number[]): string {
  return graph.setInitializer(intTensor(graph.uniqueName(hint), values));
}

/** Adds a float32 scalar and returns its name. */
export function addFloat(graph: Graph, hint: string, value: number): string {
  return graph.setInitializer(floatTensor(graph.uniqueName(hint), [], [value]));
}

/** `attribute` (INTS) becomes input `position`; it may be absent only when `isOptional`. */
export function intsToInput(
  opType: string,
  version: number,
  attribute: string,
  options: { readonly position?: number; readonly isOptional?: boolean } = {},
): OpsetAdapter {
  return {
    opType,
    version,
    convert({ graph, node }) {
      const values = node.ints(attribute, undefined);
      node.removeAttribute(attribute);
      if (values === undefined) {
        if (options.isOptional === true) return;
        throw cannotConvert(node, `attribute ${attribute} is missing`);
      }
      const name = addInts(graph, `${node.output(0)}_${attribute}`, values);
      graph.setInput(node, options.position ?? 1, name);
    },
  };
}

/** A form that has no counterpart from `version` on. */
export function refusal(opType: string, version: number, why: string): OpsetAdapter {
  return {
    opType,
    version,
    convert({ node }) {
      throw cannotConvert(node, why);
    },
  };
}

/** Puts another operator into the place of a node, keeping its name and outputs. */
export function replaceNode(
  { graph, node }: AdapterContext,
  replacement: Omit<Parameters<Graph["addNode"]>[0], "outputs" | "name">,
): void {
  graph.removeNode(node);
  const name = node.name === "" ? {} : { name: node.name };
  graph.addNode({ ...replacement, outputs: node.outputs, ...name });
}

/** Refuses a form that has no counterpart in the newer version. */
export function cannotConvert(node: Node, why: string): FleetError {
  return new FleetError(
    "onnx-unsupported",
    `${node.opType} ${node.name} cannot be moved to a newer operator set: ${why}; export the model again`,
    { details: { opType: node.opType, node: node.name } },
  );
}
