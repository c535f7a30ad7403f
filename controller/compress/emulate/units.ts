/** The unit around a node, whichever form the file is in. */

import type { Processor } from "../../../shared/devices/processor.ts";
import type { DataType } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { qdqUnit } from "./qdq-units.ts";
import { qoperatorUnit } from "./qoperator-units.ts";
import type { Unit } from "./unit.ts";

/** Undefined for a node that is no unit. `types` are the element types of the graph's values. */
export function unitOf(
  graph: Graph,
  types: ReadonlyMap<string, DataType>,
  node: Node,
  processor: Processor,
): Unit | undefined {
  return qoperatorUnit(graph, types, node) ?? qdqUnit(graph, types, node, processor);
}
