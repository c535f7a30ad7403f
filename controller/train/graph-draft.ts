/**
 * Collects the nodes and constants of a training graph while rules write it. A draft is plain data;
 * it becomes ONNX at the end, in one place.
 *
 * Invariants: names are unique, also against the forward graph; equal constants are stored once.
 */
import { assert } from "../../shared/assert.ts";
import type { AttributeInputs } from "../onnx/build.ts";
import type { GraphWriter } from "./gradient-rule.ts";

/** A node to write, or the index of a forward node to take over as it is. */
export type DraftNode =
  | {
      readonly kind: "new";
      readonly opType: string;
      readonly inputs: readonly string[];
      readonly outputs: readonly string[];
      readonly attributes: AttributeInputs;
    }
  | { readonly kind: "copy"; readonly index: number };

export interface DraftConstant {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** Longer constants are not compared with each other. */
const sharedLengthMax = 64;

export interface GraphDraft extends GraphWriter {
  readonly nodes: readonly DraftNode[];
  readonly constants: readonly DraftConstant[];
  copyNode(index: number): void;
}

/** An empty draft. `takenNames` are the values of the forward graph, `shapes` their shapes. */
export function createGraphDraft(options: {
  readonly takenNames: Iterable<string>;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
}): GraphDraft {
  const nodes: DraftNode[] = [];
  const constants = new Map<string, DraftConstant>();
  const taken = new Set(options.takenNames);
  let counter = 0;

  const freshName = (hint: string): string => {
    for (;;) {
      const name = `train/${hint}_${counter++}`;
      if (taken.has(name)) continue;
      taken.add(name);
      return name;
    }
  };
  const constant = (shape: readonly number[], data: Float32Array | BigInt64Array): string => {
    // A key of a large constant costs more than the copy it saves.
    if (data.length > sharedLengthMax) {
      const name = freshName("constant");
      constants.set(name, { name, shape, data });
      return name;
    }
    const key = `${data.constructor.name}[${shape}]${data.join()}`;
    const known = constants.get(key);
    if (known !== undefined) return known.name;
    const name = freshName("constant");
    constants.set(key, { name, shape, data });
    return name;
  };
  const emitNamed: GraphWriter["emitNamed"] = (opType, inputs, outputs, attributes = {}) => {
    nodes.push({ kind: "new", opType, inputs, outputs, attributes });
  };
  return {
    nodes,
    get constants() {
      return [...constants.values()];
    },
    copyNode: (index) => void nodes.push({ kind: "copy", index }),
    freshName,
    emitNamed,
    emit(opType, inputs, attributes) {
      const output = freshName(opType);
      emitNamed(opType, inputs, [output], attributes);
      return output;
    },
    floats(values, shape) {
      const size = shape.reduce((product, length) => product * length, 1);
      const data =
        typeof values === "number"
          ? new Float32Array(size).fill(values)
          : Float32Array.from(values);
      assert(data.length === size, `${data.length} values do not fill [${shape}]`);
      return constant(shape, data);
    },
    ints: (values) => constant([values.length], BigInt64Array.from(values, BigInt)),
    shapeOf(value) {
      const shape = options.shapes.get(value);
      assert(shape !== undefined, `the shape of ${value} was not given`);
      return shape;
    },
  };
}
