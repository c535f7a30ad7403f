/** All operators of ONNX's own set that something is known of. One line per family. */
import type { Node } from "../node.ts";
import { elementwiseOps } from "./elementwise.ts";
import { integerOps } from "./integer.ts";
import { linearOps } from "./linear.ts";
import type { OpFact } from "./op-fact.ts";
import { poolingOps } from "./pooling.ts";
import { shapeOps } from "./shape.ts";
import { sourceOps } from "./sources.ts";

export const opFacts: ReadonlyMap<string, OpFact> = new Map(
  [...linearOps, ...elementwiseOps, ...poolingOps, ...shapeOps, ...sourceOps, ...integerOps].map(
    (fact) => [fact.opType, fact],
  ),
);

/** What is known of a node's operator; undefined for other operator sets and unlisted operators. */
export function factOf(node: Node): OpFact | undefined {
  return node.domain === "" ? opFacts.get(node.opType) : undefined;
}
