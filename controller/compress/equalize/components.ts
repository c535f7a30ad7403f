/**
 * Splits the variables of a scale flow into parts that can be chosen each by itself: variables are in one
 * part when some value holds both.
 */
import type { Graph } from "../../onnx/graph.ts";
import { DisjointSets } from "./disjoint-sets.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import type { GateEdit, LinearEdit, ScaledValue } from "./scaled-value.ts";

export interface Component {
  /** Variables that stand for themselves, ascending; the position of one in here is its index. */
  readonly variables: Int32Array;
  /** The index of each variable of one of its values. */
  readonly indicesOf: (variables: Int32Array) => Int32Array;
  readonly isPinned: (index: number) => boolean;
  /** Names of the values, in topological order. */
  readonly values: readonly string[];
  readonly makers: readonly LinearEdit[];
  readonly readers: readonly LinearEdit[];
  readonly gates: readonly GateEdit[];
  /** Whether a normalisation makes some of its values. */
  readonly isNormalised: boolean;
}

/** The parts that somebody reads with a weight and that are not pinned altogether. */
export function componentsOf(graph: Graph, flow: ScaleFlow): Component[] {
  const sets = new DisjointSets();
  for (let variable = 0; variable < flow.variableCount; variable++) sets.add();
  for (const { variables } of flow.values.values()) {
    for (const variable of variables) sets.join(flow.rootOf(variables[0]!), flow.rootOf(variable));
  }
  const groupOf = (value: ScaledValue): number => sets.find(flow.rootOf(value.variables[0]!));
  const drafts = new Map<number, Draft>();
  for (let variable = 0; variable < flow.variableCount; variable++) {
    if (flow.rootOf(variable) !== variable) continue;
    const group = sets.find(variable);
    if (!drafts.has(group)) drafts.set(group, emptyDraft());
    drafts.get(group)!.variables.push(variable);
  }
  for (const [name, value] of flow.values) {
    const draft = drafts.get(groupOf(value))!;
    draft.values.push(name);
    const producer = graph.producerOf(name);
    if (producer !== undefined && flow.normalisations.has(producer)) draft.isNormalised = true;
  }
  for (const edit of flow.linears) {
    if (edit.output !== undefined) drafts.get(groupOf(edit.output))!.makers.push(edit);
    if (edit.input !== undefined) drafts.get(groupOf(edit.input))!.readers.push(edit);
  }
  for (const edit of flow.gates) drafts.get(groupOf(edit.value))!.gates.push(edit);
  return [...drafts.values()]
    .map((draft) => finished(draft, flow))
    .filter(({ variables, readers, isPinned }) => {
      return readers.length > 0 && variables.some((_variable, index) => !isPinned(index));
    });
}

interface Draft {
  readonly variables: number[];
  readonly values: string[];
  readonly makers: LinearEdit[];
  readonly readers: LinearEdit[];
  readonly gates: GateEdit[];
  isNormalised: boolean;
}

function emptyDraft(): Draft {
  return { variables: [], values: [], makers: [], readers: [], gates: [], isNormalised: false };
}

function finished(draft: Draft, flow: ScaleFlow): Component {
  const variables = Int32Array.from(draft.variables);
  const indices = new Map(draft.variables.map((variable, index) => [variable, index]));
  return {
    ...draft,
    variables,
    indicesOf: (of) => of.map((variable) => indices.get(flow.rootOf(variable))!),
    isPinned: (index) => flow.isPinned(variables[index]!),
  };
}
