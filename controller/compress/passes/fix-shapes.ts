/**
 * Gives dynamic dims of the inputs fixed lengths. A fixed shape lets shape arithmetic be folded, memory
 * be planned, and some kernels be chosen that need it.
 *
 * 1. By input name: the whole shape. 2. By the name of a dim: its length, wherever the name stands.
 * 3. What neither names: the lengths of the first calibration sample, or left dynamic with `rest: keep`.
 *
 * A dim that was named keeps its meaning: where one place fixes it, all do. What the file says of other
 * values follows from a run on the fixed inputs; without a runtime only names are replaced, and what
 * the file says without a name is forgotten.
 *
 * Invariant: shapes that contradict the model or each other are refused, before anything is changed.
 */
import { z } from "zod";
import { assert } from "../../../shared/assert.ts";
import { makeValueInfo } from "../../onnx/build.ts";
import { fixedShapes } from "../../onnx/fixed-shapes.ts";
import type { Dim, Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { ValueInfoProto } from "../../onnx/schema.ts";
import type { Feeds, Workbench } from "../execute.ts";
import { firstSample, inferShapes } from "../infer-shapes.ts";
import { definePass, reorderTolerance } from "../pass.ts";

const length = z.int().min(1);

const options = z.strictObject({
  /** Shapes by the name of the input. */
  inputs: z.record(z.string(), z.array(length)).default({}),
  /** Lengths by the name of the dim. */
  dims: z.record(z.string(), length).default({}),
  /** What becomes of dims that nothing names. */
  rest: z.enum(["samples", "keep"]).default("samples"),
});

type Options = z.output<typeof options>;

export const fixShapes = definePass({
  name: "fix-shapes",
  summary: "Gives dynamic dims of the inputs fixed lengths.",
  options,
  // The runtime fuses more, and adds up in another order, where it knows shapes.
  tolerance: reorderTolerance,
  requires: (model, wanted) => planOf(model.graph, wanted, undefined).fault,
  async run({ workbench }, model, wanted) {
    const { graph } = model;
    const sample =
      wanted.rest === "samples" && workbench !== undefined
        ? await firstSample(workbench)
        : undefined;
    const plan = planOf(graph, wanted, sample);
    assert(plan.fault === undefined, "samples give way to what the model declares");
    const before = dynamicDims(graph);
    applyPlan(graph, plan);
    const left = dynamicDims(graph);
    const fixed = before.filter((dim) => !left.includes(dim));
    if (fixed.length > 0) await renewInfos(model, workbench);
    return { modified: fixed.length > 0, report: { fixed, left } };
  },
});

interface Plan {
  readonly shapes: ReadonlyMap<string, readonly Dim[]>;
  readonly dims: ReadonlyMap<string, number>;
  /** What does not fit. */
  readonly fault?: string | undefined;
}

/** What the inputs will be. */
function planOf(graph: Graph, wanted: Options, sample: Feeds | undefined): Plan {
  const dims = new Map(Object.entries(wanted.dims));
  const shapes = new Map<string, readonly Dim[]>();
  const known = new Set(graph.inputNames.flatMap((name) => graph.declaredShape(name) ?? []));
  const unknownDim = [...dims.keys()].find((name) => !known.has(name));
  const unknownInput = Object.keys(wanted.inputs).find((name) => !graph.isInput(name));
  if (unknownDim !== undefined) return { shapes, dims, fault: noSuch("dim", unknownDim, known) };
  if (unknownInput !== undefined) {
    return { shapes, dims, fault: noSuch("input", unknownInput, graph.inputNames) };
  }
  for (const source of [wanted.inputs, Object.fromEntries(sampleShapes(graph, sample))]) {
    for (const [name, shape] of Object.entries(source)) {
      const declared = shapes.get(name) ?? graph.declaredShape(name) ?? shape.map(() => null);
      const fault = fixDims({ name, declared, shape, dims, isForced: source === wanted.inputs });
      if (fault !== undefined) return { shapes, dims, fault };
      shapes.set(
        name,
        declared.map((dim, at) => (dim === null ? shape[at]! : dim)),
      );
    }
  }
  return { shapes, dims };
}

function noSuch(what: string, name: string, known: Iterable<Dim>): string {
  const names = [...known].filter((each) => typeof each === "string");
  return `no input has the ${what} ${name}; known are ${names.join(", ") || "none"}`;
}

function* sampleShapes(graph: Graph, sample: Feeds | undefined): Generator<[string, number[]]> {
  for (const name of graph.inputNames) {
    const shape = sample?.get(name)?.shape;
    if (shape !== undefined) yield [name, [...shape]];
  }
}

/** Notes the lengths of named dims; says what contradicts. What a sample says gives way. */
function fixDims(options: {
  readonly name: string;
  readonly declared: readonly Dim[];
  readonly shape: readonly number[];
  readonly dims: Map<string, number>;
  readonly isForced: boolean;
}): string | undefined {
  const { name, declared, shape, dims, isForced } = options;
  if (declared.length !== shape.length) {
    return isForced ? `input ${name} has ${declared.length} dims, not ${shape.length}` : undefined;
  }
  for (const [at, dim] of declared.entries()) {
    const fixed = typeof dim === "string" ? dims.get(dim) : dim;
    if (typeof dim === "string" && fixed === undefined) dims.set(dim, shape[at]!);
    else if (isForced && fixed !== null && fixed !== shape[at]) {
      return `dim ${at} of input ${name} is ${fixed}, not ${shape[at]}`;
    }
  }
  return undefined;
}

function applyPlan(graph: Graph, { shapes, dims }: Plan): void {
  const resolve = (info: ValueInfoProto): ValueInfoProto => {
    const name = info.name ?? "";
    const type = graph.declaredType(name);
    const shape = shapes.get(name) ?? graph.declaredShape(name);
    if (type === undefined || shape === undefined) return info;
    const fixed = shape.map((dim) => (typeof dim === "string" ? (dims.get(dim) ?? dim) : dim));
    const isSame = fixed.join() === graph.declaredShape(name)?.join();
    return isSame ? info : { ...makeValueInfo(name, type, fixed), ...withoutType(info) };
  };
  graph.setInputInfos(graph.inputs.map(resolve));
  graph.setOutputInfos(graph.outputs.map(resolve));
}

function withoutType({ type: _old, ...rest }: ValueInfoProto): Omit<ValueInfoProto, "type"> {
  return rest;
}

/** Writes what a run on the fixed inputs shows; without one nothing is said of values in the middle. */
async function renewInfos(model: Model, workbench: Workbench | undefined): Promise<void> {
  const { graph } = model;
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  for (const name of names) if (!graph.isOutput(name)) graph.setInfo(name, undefined);
  if (workbench === undefined || dynamicDims(graph).length > 0) return;
  const facts = await inferShapes(model, workbench);
  if (facts === undefined) return;
  const isFixed = fixedShapes(graph);
  const infoOf = (name: string): ValueInfoProto | undefined => {
    const fact = isFixed.has(name) ? facts.get(name) : undefined;
    return fact === undefined ? undefined : makeValueInfo(name, fact.type, fact.shape);
  };
  for (const name of names) if (!graph.isOutput(name)) graph.setInfo(name, infoOf(name));
  graph.setOutputInfos(graph.outputs.map((info) => infoOf(info.name ?? "") ?? info));
}

/** Dynamic dims of the inputs, as `input[axis]`. */
function dynamicDims(graph: Graph): string[] {
  return graph.inputNames.flatMap((name) =>
    (graph.declaredShape(name) ?? [null]).flatMap((dim, axis) =>
      typeof dim === "number" ? [] : [`${name}[${axis}]`],
    ),
  );
}
