/**
 * Operators that only give values another shape, here so that they cost nothing: Reshape, Flatten
 * and Identity are read by their shape alone.
 * Source: ONNX opset 14 Reshape, opset 13 Flatten.
 */
import { FleetError } from "../../../../shared/errors.ts";
import type { Graph } from "../../../onnx/graph.ts";
import type { Node } from "../../../onnx/node.ts";
import { tensorNumbers } from "../../../onnx/tensor.ts";
import { elementsOf, type Step, type StepContext } from "../step.ts";

/** The output's shape from the input's. */
type ShapeRule = (
  shape: readonly number[],
  node: Node,
  graph: Graph,
) => readonly number[] | undefined;

const rules: Readonly<Record<string, ShapeRule>> = {
  Identity: (shape) => shape,
  Reshape: reshaped,
  Flatten: flattened,
};

export function moveStep({ graph }: StepContext, node: Node): Step | undefined {
  const rule = node.domain === "" ? rules[node.opType] : undefined;
  if (rule === undefined || graph.constant(node.input(0)) !== undefined) return undefined;
  if (node.opType === "Reshape" && graph.constant(node.input(1)) === undefined) return undefined;
  return {
    inputs: [node.input(0)],
    outputs: [node.output(0)],
    run([value]) {
      const shape = rule(value!.shape, node, graph);
      if (shape === undefined || elementsOf(shape) !== elementsOf(value!.shape)) {
        throw new FleetError(
          "golden-mismatch",
          `${node.opType} ${node.name} cannot give [${value!.shape}] its shape: use samples that fit`,
        );
      }
      return [{ ...value!, shape }];
    },
  };
}

function reshaped(shape: readonly number[], node: Node, graph: Graph): number[] | undefined {
  const target = tensorNumbers(graph.constant(node.input(1))!);
  const copiesZero = node.int("allowzero", 0) === 0;
  const filled = target.map((length, axis) => (length === 0 && copiesZero ? shape[axis]! : length));
  const rest = elementsOf(shape) / elementsOf(filled.filter((length) => length !== -1));
  return filled.map((length) => (length === -1 ? rest : length));
}

function flattened(shape: readonly number[], node: Node): number[] {
  const axis = node.int("axis", 1);
  const split = axis < 0 ? axis + shape.length : axis;
  return [elementsOf(shape.slice(0, split)), elementsOf(shape.slice(split))];
}
