/**
 * How far down the input of a gate matters. y = x · g(x) is flat below some point (HardSwish is 0 below −3,
 * SiLU above −0.003 below −8), so an 8-bit x may be cut there: the codes that would have told −50 from −60
 * then resolve what the gate lets through. The range of such an x is often half of that or more.
 *
 * Per channel with factors s (`scale-flow.ts`): x' = x / s may be cut at the least of max(min x, m) / s
 * over the channels, with m the greatest point at which all of y further down is within a quarter of the
 * step that y will have.
 *
 * Only values that nothing but the gate reads; g a chain of known functions with constants of one value.
 */
import { assert } from "../../../shared/assert.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorFloats, tensorScalar } from "../../onnx/tensor.ts";
import type { ChannelRanges } from "./channel-ranges.ts";
import type { GateEdit } from "./scaled-value.ts";

/** A quarter of a step of 255, as a part of the range of y. */
const toleranceShare = 1 / 1024;
/** The function is looked at from here to its opposite, in steps of 1/16; gates are straight beyond. */
const reach = 64;
const stepsPerUnit = 16;
/** A gate must not move between the end of the grid and here. */
const farOut = 1024;

type Scalar = (x: number) => number;

/** The input of a gate, and what factors it has been divided by; [C]. */
export interface GateInput {
  readonly name: string;
  readonly gate: GateEdit;
  readonly factors: Float64Array;
}

/** Values that only the gate reads: its entrance's input, and the scaled value in front of that. */
export function gateInputs(graph: Graph, gates: readonly GateEdit[]): GateInput[] {
  return gates.flatMap((gate): GateInput[] => {
    const name = gate.node.input(gate.input);
    const channels = gate.value.variables.length;
    const own: GateInput = { name, gate, factors: new Float64Array(channels).fill(1) };
    const scaled = scaledInput(graph, gate, name);
    const inputs = scaled === undefined ? [own] : [own, scaled];
    const readers = new Set([...gate.steps, gate.product, graph.producerOf(name)]);
    return inputs.filter(
      (input) =>
        !graph.isOutput(input.name) &&
        graph.consumersOf(input.name).every((reader) => readers.has(reader)),
    );
  });
}

/**
 * For each channel of a gate's input, whose own values lie within the ranges: the least one that still
 * matters. In the units of the input, factors included.
 */
export function usefulMinima(
  { gate, factors }: GateInput,
  ranges: ChannelRanges,
  graph: Graph,
): Float64Array {
  const gateFunction = functionOf(graph, gate);
  if (gateFunction === undefined) return ranges.min;
  const flat = new FlatTail((x) => x * gateFunction(x));
  return ranges.min.map((min, channel) => {
    const factor = factors[channel]!;
    const cut = flat.startFor(min * factor, ranges.max[channel]! * factor);
    return Math.max(min, cut / factor);
  });
}

/** x' of Mul(x', s), when that makes the gate's input. */
function scaledInput(graph: Graph, gate: GateEdit, name: string): GateInput | undefined {
  const producer = graph.producerOf(name);
  if (producer?.is("Mul") !== true || producer.captured.length > 0) return undefined;
  const at = producer.inputs.findIndex((input) => graph.constant(input) !== undefined);
  if (at < 0) return undefined;
  const values = tensorFloats(graph.constant(producer.input(at))!);
  const channels = gate.value.variables.length;
  if (values.length !== channels || values.some((factor) => !(factor > 0))) return undefined;
  return { name: producer.input(1 - at), gate, factors: Float64Array.from(values) };
}

/** g, or undefined when a step is not known. */
function functionOf(graph: Graph, { node, steps }: GateEdit): Scalar | undefined {
  if (steps.length === 0) return node.is("HardSwish") ? hardSigmoid(1 / 6, 0.5) : undefined;
  let whole: Scalar = (x) => x;
  for (const step of steps) {
    const next = stepFunction(graph, step);
    if (next === undefined) return undefined;
    const before = whole;
    whole = (x) => next(before(x));
  }
  return whole;
}

const hardSigmoid =
  (alpha: number, beta: number): Scalar =>
  (x) =>
    Math.min(Math.max(alpha * x + beta, 0), 1);

const binary: Readonly<Record<string, (left: number, right: number) => number>> = {
  Add: (left, right) => left + right,
  Sub: (left, right) => left - right,
  Mul: (left, right) => left * right,
  Div: (left, right) => left / right,
};

const unary: Readonly<Record<string, Scalar>> = {
  Exp: Math.exp,
  Neg: (x) => -x,
  Relu: (x) => Math.max(x, 0),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Softplus: (x) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0),
  Tanh: Math.tanh,
};

function stepFunction(graph: Graph, step: Node): Scalar | undefined {
  const operation = binary[step.opType];
  if (operation !== undefined) {
    const at = step.inputs.findIndex((name) => graph.constant(name) !== undefined);
    const constant = constantOf(graph, step, at);
    if (constant === undefined) return undefined;
    return at === 0 ? (x) => operation(constant, x) : (x) => operation(x, constant);
  }
  if (step.opType === "HardSigmoid") {
    return hardSigmoid(step.float("alpha", 0.2), step.float("beta", 0.5));
  }
  if (step.opType !== "Clip") return unary[step.opType];
  const min = step.input(1) === "" ? step.float("min", -Infinity) : constantOf(graph, step, 1);
  const max = step.input(2) === "" ? step.float("max", Infinity) : constantOf(graph, step, 2);
  if (min === undefined || max === undefined) return undefined;
  return (x) => Math.min(Math.max(x, min), max);
}

function constantOf(graph: Graph, node: Node, at: number): number | undefined {
  const tensor = graph.constant(node.input(at));
  return tensor === undefined ? undefined : tensorScalar(tensor);
}

/** Where a function, seen from the left, stops being flat. */
class FlatTail {
  readonly #values: Float64Array;
  readonly #least: Float64Array;
  readonly #greatest: Float64Array;
  readonly #isFlatFarOut: boolean;

  constructor(y: Scalar) {
    const count = 2 * reach * stepsPerUnit + 1;
    this.#values = Float64Array.from({ length: count }, (_, at) => y(positionAt(at)));
    this.#least = runningOf(this.#values, Math.min);
    this.#greatest = runningOf(this.#values, Math.max);
    this.#isFlatFarOut = Math.abs(y(-farOut) - y(-reach)) < 1e-9;
  }

  /** The cut for an input between min and max; −∞ where none is safe. */
  startFor(min: number, max: number): number {
    if (!this.#isFlatFarOut || !(min < 0)) return Number.NEGATIVE_INFINITY;
    const tolerance = toleranceShare * this.#magnitudeWithin(min, max);
    for (let at = indexOf(0); at >= 0; at--) {
      const value = this.#values[at]!;
      const isFlat =
        this.#greatest[at]! - value <= tolerance && value - this.#least[at]! <= tolerance;
      if (isFlat) return positionAt(at);
    }
    return Number.NEGATIVE_INFINITY;
  }

  #magnitudeWithin(min: number, max: number): number {
    let magnitude = 0;
    for (let at = indexOf(min); at <= indexOf(max); at++) {
      magnitude = Math.max(magnitude, Math.abs(this.#values[at]!));
    }
    return magnitude;
  }
}

function positionAt(index: number): number {
  return index / stepsPerUnit - reach;
}

function indexOf(position: number): number {
  assert(!Number.isNaN(position), "a position is a number");
  const bounded = Math.min(Math.max(position, -reach), reach);
  return Math.round((bounded + reach) * stepsPerUnit);
}

function runningOf(
  values: Float64Array,
  combine: (left: number, right: number) => number,
): Float64Array {
  const running = values.slice();
  for (let at = 1; at < running.length; at++) {
    running[at] = combine(running[at - 1]!, running[at]!);
  }
  return running;
}
