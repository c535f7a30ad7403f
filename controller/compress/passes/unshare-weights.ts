/**
 * Gives nodes that read one weight in different ways copies of their own. Quantization cuts a weight
 * into channels as its reader does, gives a bias the scale of its reader's input, and leaves other
 * readers float, so one constant cannot serve them all.
 *
 * 1. As weights with the same channels: shared. 2. As weights with other channels: a copy for each way.
 * 3. As biases: a copy for each reader. 4. By nodes that compute with it in float: shared by those.
 * With `all`, every node that multiplies by a weight gets its own, for passes that change it by what
 * their node reads.
 *
 * Scalars stay shared, as do constants that only case 4 reads. The compact writer joins again what
 * is still equal in the end.
 */
import { z } from "zod";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { renameTensor, tensorShape } from "../../onnx/tensor.ts";
import { counted, definePass, exactTolerance } from "../pass.ts";

export const unshareWeights = definePass({
  name: "unshare-weights",
  summary: "Gives nodes that read one weight in different ways copies of their own.",
  options: z.strictObject({
    /** Also nodes that read it in the same way. */
    all: z.boolean().default(false),
  }),
  tolerance: exactTolerance,
  run(_context, model, { all }) {
    const { graph } = model;
    let copies = 0;
    for (const [name, tensor] of [...graph.initializers]) {
      if (graph.constant(name) === undefined || tensor.dims.length === 0) continue;
      copies += unshare(graph, tensor, all);
    }
    return counted("copies", copies);
  },
});

/** A place where a constant is read. */
interface Reading {
  readonly node: Node;
  readonly input: number;
}

/** Returns how many copies were made. */
function unshare(graph: Graph, tensor: TensorProto, all: boolean): number {
  const name = tensor.name ?? "";
  const ways = new Map<string, Reading[]>();
  const note = (way: string, reading: Reading): void => {
    const readings = ways.get(way);
    if (readings === undefined) ways.set(way, [reading]);
    else readings.push(reading);
  };
  // Whoever reads it in a subgraph, or as an output of the graph, keeps the name.
  let isKept = graph.isOutput(name);
  for (const [at, node] of graph.consumersOf(name).entries()) {
    isKept ||= node.captured.includes(name);
    node.inputs.forEach((input, index) => {
      if (input === name)
        note(wayOf({ node, input: index }, { tensor, at, all }), { node, input: index });
    });
  }
  const plain = ways.get(otherWay);
  if (isKept && plain === undefined) ways.set(otherWay, []);
  const [first] = isKept || plain !== undefined ? [otherWay] : ways.keys();
  let copies = 0;
  for (const [way, readings] of ways) {
    if (way === first) continue;
    const copy = graph.setInitializer(renameTensor(tensor, graph.uniqueName(name)));
    for (const { node, input } of readings) graph.setInput(node, input, copy);
    copies++;
  }
  return copies;
}

const otherWay = "other";

/** Readings of one way can share a constant. */
function wayOf(
  { node, input }: Reading,
  { tensor, at, all }: { tensor: TensorProto; at: number; all: boolean },
): string {
  const fact = factOf(node)?.weight;
  if (fact !== undefined && input === fact.bias) return `bias of ${at}`;
  if (fact === undefined || input !== fact.input) return otherWay;
  if (all) return `weight of ${at}`;
  const layout = fact.layout(node, tensorShape(tensor));
  return layout === undefined ? otherWay : JSON.stringify(Object.entries(layout).sort());
}
