/**
 * A model that runs another one on many samples in one call, since a call of a small model costs more than the
 * model (a GRU of 18,000 weights: 0.05 of 0.05 ms; onnxruntime-node 1.30, 2026-12).
 *
 * 1. The graph becomes the body of one Scan (ONNX operator Scan, opset 9 on). Each input [shape] becomes
 *    [samples, shape], and so does each output; initializers go with the body.
 *
 * Invariant: the body runs at the shapes of one sample, so what it yields is bit-equal to what the model yields
 * for that sample alone, sums excepted, whose order goes by where in memory a sample lies.
 */
import { makeGraph, makeNode, makeValueInfo } from "../../onnx/build.ts";
import type { DataType } from "../../onnx/data-type.ts";
import { Graph } from "../../onnx/graph.ts";
import { decodeModel, encodeModel } from "../../onnx/proto.ts";
import type { ModelProto } from "../../onnx/schema.ts";
import type { Feeds, LoadedModel, Outputs, TensorValue } from "../execute.ts";
import { fitted } from "./fit.ts";

/** A value of the body, and what all samples of it together are called. */
interface Stacked {
  readonly name: string;
  readonly all: string;
  /** Axes in the body; undefined where the file does not say. */
  readonly rank: number | undefined;
}

export interface ScanModel {
  readonly modelBytes: Uint8Array;
  readonly inputs: readonly Stacked[];
  readonly outputs: readonly Stacked[];
}

/** Scan takes what it scans along the first axis since 9; initializers need be no inputs since format 4. */
const opsetMin = 9;
const irVersionMin = 4n;

/** Undefined for a model that no Scan can hold: operator sets of long ago, inputs of no known type. */
export function scanModel(modelBytes: Uint8Array): ScanModel | undefined {
  const model = decodeModel(modelBytes);
  if (opsetOf(model) < opsetMin) return undefined;
  const body = model.graph!;
  const graph = Graph.fromProto(body);
  const fed = body.input.filter(({ name }) => !graph.initializers.has(name ?? ""));
  const inputs = fed.map(({ name }) => stacked(graph, name ?? ""));
  const outputs = body.output.map(({ name }) => stacked(graph, name ?? ""));
  const infos = [...inputs, ...outputs].map((value) => infoOf(graph, value));
  if (infos.includes(undefined)) return undefined;
  const known = infos.map((info) => info!);
  const scan = makeNode({
    opType: "Scan",
    inputs: inputs.map(({ all }) => all),
    outputs: outputs.map(({ all }) => all),
    attributes: {
      body: { graph: { ...body, input: fed } },
      num_scan_inputs: { int: inputs.length },
    },
  });
  const outer = makeGraph({
    nodes: [scan],
    inputs: known.slice(0, inputs.length),
    outputs: known.slice(inputs.length),
  });
  const own = model.irVersion ?? 0n;
  const irVersion = own < irVersionMin ? irVersionMin : own;
  return { modelBytes: encodeModel({ ...model, irVersion, graph: outer }), inputs, outputs };
}

function opsetOf({ opsetImport }: ModelProto): number {
  return Number(opsetImport.find(({ domain = "" }) => domain === "")?.version ?? 0n);
}

function stacked(graph: Graph, name: string): Stacked {
  return {
    name,
    all: graph.uniqueName(`${name}_of_samples`),
    rank: graph.declaredShape(name)?.length,
  };
}

function infoOf(graph: Graph, { name, all }: Stacked) {
  const type: DataType | undefined = graph.declaredType(name);
  const shape = graph.declaredShape(name);
  if (type === undefined) return undefined;
  return makeValueInfo(all, type, shape === undefined ? undefined : [null, ...shape]);
}

/** Runs samples of equal shapes in one call of a model that `scanModel` made; others by themselves. */
export async function runScan(
  loaded: Pick<LoadedModel, "run">,
  scan: Omit<ScanModel, "modelBytes">,
  samples: readonly Feeds[],
): Promise<readonly Outputs[]> {
  const groups = Map.groupBy(samples, shapesOf).size === 1 ? [samples] : samples.map((s) => [s]);
  const results: Outputs[] = [];
  for (const group of groups) {
    const outputs = await loaded.run(stackOf(group, scan.inputs));
    for (const at of group.keys()) results.push(partOf(outputs, scan.outputs, at, group.length));
  }
  return results;
}

function shapesOf(feeds: Feeds): string {
  return [...feeds].map(([name, { type, shape }]) => `${name} ${type} ${shape}`).join();
}

function stackOf(samples: readonly Feeds[], inputs: readonly Stacked[]): Feeds {
  return new Map(
    inputs.map(({ name, all, rank }): [string, TensorValue] => {
      const values = samples.map((feeds) => feeds.get(name)!);
      const { type, shape, data: first } = values[0]!;
      const { length } = first;
      const data = new (first.constructor as Float32ArrayConstructor)(samples.length * length);
      for (const [at, value] of values.entries()) data.set(value.data as Float32Array, at * length);
      return [all, { type, shape: [samples.length, ...fitted(shape, rank)], data }];
    }),
  );
}

/** What one sample yields, in memory of its own. */
function partOf(
  results: Outputs,
  outputs: readonly Stacked[],
  at: number,
  samples: number,
): Outputs {
  return new Map(
    outputs.map(({ name, all }): [string, TensorValue] => {
      const { type, shape, data } = results.get(all)!;
      const length = data.length / samples;
      const part = data.slice(at * length, (at + 1) * length);
      return [name, { type, shape: shape.slice(1), data: part }];
    }),
  );
}
