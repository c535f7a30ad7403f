/**
 * Orders nodes so that each comes after the nodes it reads from. The order that was given is kept
 * wherever it is already right, so a sorted graph is left as it is.
 */
import { FleetError } from "../../shared/errors.ts";
import type { Node } from "./node.ts";

/** Throws `onnx-cycle`, naming the nodes of one cycle, when there is no such order. */
export function topologicalOrder(
  nodes: readonly Node[],
  producerOf: (name: string) => Node | undefined,
): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  const open = new Set<Node>();
  // An explicit stack: a chain of many thousand nodes would overflow the call stack.
  const stack: { node: Node; reads: Iterator<string> }[] = [];
  const enter = (node: Node): void => {
    open.add(node);
    stack.push({ node, reads: [...node.inputs, ...node.captured].values() });
  };
  for (const root of nodes) {
    if (!done.has(root)) enter(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const read = top.reads.next();
      if (read.done) {
        stack.pop();
        open.delete(top.node);
        done.add(top.node);
        order.push(top.node);
        continue;
      }
      const producer = producerOf(read.value);
      if (producer === undefined || done.has(producer)) continue;
      if (open.has(producer))
        throw cycle(
          stack.map(({ node }) => node),
          producer,
        );
      enter(producer);
    }
  }
  return order;
}

function cycle(path: readonly Node[], start: Node): FleetError {
  const members = path.slice(path.indexOf(start)).map((node) => node.name || node.output(0));
  return new FleetError(
    "onnx-cycle",
    `the graph has a cycle through ${members.slice(0, 5).join(", ")}: export the model again`,
    { details: { nodes: members } },
  );
}
