/**
 * Reverse-mode differentiation as a graph rewrite: writes the training forward of every node, then
 * walks back from the seeds and asks each node's rule for the gradients of its inputs. A value
 * that several nodes read receives the sum of what they send.
 *
 * Invariants: nodes come in topological order; only values on a path from a wanted value to a seed
 * get gradients, so frozen parts cost nothing and need no rule.
 */
import { FleetError } from "../../shared/errors.ts";
import type { Node } from "../onnx/node.ts";
import type { GradientRule, GraphWriter, Saved, StateUpdate } from "./gradient-rule.ts";
import { gradientRules } from "./gradients/registry.ts";

export interface ForwardPass {
  readonly saved: ReadonlyMap<Node, Saved>;
  readonly states: readonly StateUpdate[];
}

/**
 * Writes the forward part. Nodes that reach no wanted value keep their inference form, which
 * for BatchNormalization means that frozen layers use their running statistics.
 */
export function writeForward(options: {
  readonly nodes: readonly Node[];
  readonly write: GraphWriter;
  /** Takes the node at this index over unchanged. */
  readonly copy: (index: number) => void;
  readonly active: ReadonlySet<string>;
}): ForwardPass {
  const saved = new Map<Node, Saved>();
  const states: StateUpdate[] = [];
  for (const [index, node] of options.nodes.entries()) {
    // Shape arithmetic is active too but no gradient ever reaches it, so a missing rule is fine here.
    const rule = isActive(node, options.active) ? knownRule(node) : undefined;
    const forward = rule?.forward;
    if (forward === undefined) {
      options.copy(index);
      continue;
    }
    const updateState = (update: StateUpdate): void => void states.push(update);
    saved.set(node, forward({ node, write: options.write, updateState }));
  }
  return { saved, states };
}

/** Writes the backward part behind `forward` and returns the gradient of each active value. */
export function writeBackward(options: {
  readonly nodes: readonly Node[];
  readonly write: GraphWriter;
  readonly active: ReadonlySet<string>;
  readonly forward: ForwardPass;
  /** Gradient by output value, where the walk starts. */
  readonly seeds: ReadonlyMap<string, string>;
}): ReadonlyMap<string, string> {
  const { write, active } = options;
  const gradients = new Map(options.seeds);
  for (const node of options.nodes.toReversed()) {
    const outputGradient = gradients.get(node.outputs[0]!);
    if (outputGradient === undefined || !isActive(node, active)) continue;
    const wants = (index: number): boolean => active.has(node.inputs[index] ?? "");
    const saved = options.forward.saved.get(node) ?? {};
    const inputGradients = ruleOf(node).backward({ node, write, outputGradient, saved, wants });
    inputGradients.forEach((gradient, index) => {
      const input = node.inputs[index]!;
      if (gradient === undefined || !active.has(input)) return;
      const before = gradients.get(input);
      gradients.set(input, before === undefined ? gradient : write.emit("Add", [before, gradient]));
    });
  }
  return gradients;
}

/** The wanted values and everything that is computed from them. */
export function activeValues(
  nodes: readonly Node[],
  wanted: Iterable<string>,
): ReadonlySet<string> {
  const active = new Set(wanted);
  for (const node of nodes) {
    if (node.inputs.some((input) => active.has(input))) {
      for (const output of node.outputs) if (output !== "") active.add(output);
    }
  }
  return active;
}

/** The rule of ONNX's own operator of this type; operators of other domains have none. */
export function knownRule(node: Node): GradientRule | undefined {
  return node.domain === "" ? gradientRules.get(node.opType) : undefined;
}

/** Throws `onnx-unsupported` when nobody has written the operator's gradient yet. */
function ruleOf(node: Node): GradientRule {
  const rule = knownRule(node);
  if (rule !== undefined) return rule;
  throw new FleetError(
    "onnx-unsupported",
    `no gradient is known for operator ${node.opType} (node ${node.name}): freeze the weights before it`,
    { details: { node: node.name, opType: node.opType, domain: node.domain } },
  );
}

function isActive(node: Node, active: ReadonlySet<string>): boolean {
  return node.inputs.some((input) => active.has(input));
}
