/**
 * An LSTM and a GRU that read an image row by row: input [N, 28, 28], 10 classes. Trained as unrolled cells,
 * written as the ONNX operators, whose equations they are (ONNX opset 14 LSTM, GRU with linear_before_reset).
 */

import { decodeModel, encodeModel } from "../../../../controller/onnx/proto.ts";
import { withWeights } from "../../../../controller/train/training-graph.ts";
import { createNet, dense, type Net, weightsByName } from "./net.ts";

export type Cell = "LSTM" | "GRU";

const steps = 28;
const inputs = 28;
const hidden = 64;
const classes = 10;
/** In the order in which the operators stack them. */
const gates = { LSTM: ["i", "o", "f", "c"], GRU: ["z", "r", "h"] } as const;

interface Gate {
  readonly fromInput: string;
  readonly fromState: string;
}

/** The unrolled form. */
export function unrolled(cell: Cell): Uint8Array {
  const net = createNet({ name: cell, seed: 23, inputShape: ["N", steps, inputs] });
  const weights = new Map(gates[cell].map((gate) => [gate, weightsOf(net, gate)]));
  const rows = Array.from({ length: steps }, (_, step) =>
    net.op("Squeeze", [
      net.op("Slice", ["input", net.ints([step]), net.ints([step + 1]), net.ints([1])]),
      net.ints([1]),
    ]),
  );
  let state: State = {};
  for (const row of rows) {
    const gate = (name: string): Gate => gateOf(net, weights.get(name as "i")!, row, state.output);
    state = cell === "LSTM" ? lstmStep(net, gate, state) : gruStep(net, gate, state);
  }
  const logits = dense(net, state.output!, { name: "head", inputs: hidden, outputs: classes });
  return net.finish(logits, ["N", classes]);
}

interface State {
  readonly output?: string;
  readonly cell?: string;
}

interface GateWeights {
  readonly w: string;
  readonly r: string;
  readonly wb: string;
  readonly rb: string;
}

function weightsOf(net: Net, gate: string): GateWeights {
  return {
    w: net.weight(`w.${gate}`, [inputs, hidden], 3 * inputs),
    r: net.weight(`r.${gate}`, [hidden, hidden], 3 * hidden),
    // A forget gate that starts open keeps what it saw (Gers et al. 2000).
    wb: net.filled(`wb.${gate}`, [hidden], gate === "f" ? 1 : 0),
    rb: net.filled(`rb.${gate}`, [hidden], 0),
  };
}

function gateOf(net: Net, weights: GateWeights, row: string, state: string | undefined): Gate {
  const fromInput = net.op("Add", [net.op("MatMul", [row, weights.w]), weights.wb]);
  // The first state is zero, which leaves the bias.
  if (state === undefined) return { fromInput, fromState: weights.rb };
  const fromState = net.op("Add", [net.op("MatMul", [state, weights.r]), weights.rb]);
  return { fromInput, fromState };
}

function sum(net: Net, { fromInput, fromState }: Gate): string {
  return net.op("Add", [fromInput, fromState]);
}

function lstmStep(net: Net, gate: (name: string) => Gate, state: State): State {
  const squashed = (name: string): string => net.op("Sigmoid", [sum(net, gate(name))]);
  const added = net.op("Mul", [squashed("i"), net.op("Tanh", [sum(net, gate("c"))])]);
  const cell =
    state.cell === undefined
      ? added
      : net.op("Add", [net.op("Mul", [squashed("f"), state.cell]), added]);
  return { cell, output: net.op("Mul", [squashed("o"), net.op("Tanh", [cell])]) };
}

function gruStep(net: Net, gate: (name: string) => Gate, { output }: State): State {
  const update = net.op("Sigmoid", [sum(net, gate("z"))]);
  const reset = net.op("Sigmoid", [sum(net, gate("r"))]);
  const { fromInput, fromState } = gate("h");
  const fresh = net.op("Tanh", [net.op("Add", [fromInput, net.op("Mul", [reset, fromState])])]);
  // (1 − z) · fresh + z · old = fresh + z · (old − fresh); the first old state is zero.
  if (output === undefined) {
    return { output: net.op("Mul", [net.op("Sub", [net.scalar(1), update]), fresh]) };
  }
  const change = net.op("Mul", [update, net.op("Sub", [output, fresh])]);
  return { output: net.op("Add", [fresh, change]) };
}

/** The ONNX operator with the weights of the trained unrolled form. */
export function rolled(cell: Cell, trained: Uint8Array): Uint8Array {
  const named = weightsByName(trained);
  const net = createNet({ name: cell, seed: 0, inputShape: ["N", steps, inputs] });
  const count = gates[cell].length;
  const parts = { w: "W", r: "R", b: "B" };
  net.filled(parts.w, [1, count * hidden, inputs], 0);
  net.filled(parts.r, [1, count * hidden, hidden], 0);
  net.filled(parts.b, [1, 2 * count * hidden], 0);
  const rows = net.op("Transpose", ["input"], { perm: { ints: [1, 0, 2] } });
  const attributes = {
    hidden_size: { int: hidden },
    ...(cell === "GRU" ? { linear_before_reset: { int: 1 } } : {}),
  };
  const all = net.op(cell, [rows, parts.w, parts.r, parts.b], attributes, 2);
  const last = net.op("Squeeze", [`${all}_1`, net.ints([0])]);
  const logits = dense(net, last, { name: "head", inputs: hidden, outputs: classes });
  const file = net.finish(logits, ["N", classes]);
  const weights = new Map([...named, ...stackedWeights(cell, named)]);
  return encodeModel(withWeights(decodeModel(file), weights));
}

function stackedWeights(
  cell: Cell,
  named: ReadonlyMap<string, Float32Array>,
): Map<string, Float32Array> {
  const all = (prefix: string) => gates[cell].map((gate) => named.get(`${prefix}.${gate}`)!);
  return new Map([
    ["W", joined(all("w").map((each) => transposed(each, inputs, hidden)))],
    ["R", joined(all("r").map((each) => transposed(each, hidden, hidden)))],
    ["B", joined([...all("wb"), ...all("rb")])],
  ]);
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: rows * columns },
    (_, at) => values[(at % rows) * columns + Math.floor(at / rows)]!,
  );
}

function joined(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}
