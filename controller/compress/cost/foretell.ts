/** The time of one run of a variant on a processor, from the cost table that was measured there. */
import type { Processor } from "../../../shared/devices/processor.ts";
import type { CostTable } from "../../../shared/inference/cost-table.ts";
import { Model } from "../../onnx/model.ts";
import { estimateCost } from "./estimate.ts";
import { allShapes, type KeptShapes } from "./kept-shapes.ts";

export interface ForetoldTime {
  /** Of the operators that the table covers, in ms. */
  readonly timeMs: number;
  /** Operators that it says nothing of, with their number: `3 Sigmoid`. */
  readonly notCovered: readonly string[];
}

export interface Costs {
  readonly table: CostTable;
  readonly processor: Processor;
}

/** Undefined for a table without the sizes that an estimate takes. */
export function foretellTime(
  file: { readonly modelBytes: Uint8Array; readonly shapes: KeptShapes },
  costs: Costs,
): ForetoldTime | undefined {
  const model = Model.decode(file.modelBytes);
  const estimate = estimateCost(model, allShapes(model, file.shapes), costs);
  if (estimate === undefined) return undefined;
  const counts = new Map<string, number>();
  for (const node of estimate.notCovered) {
    const [operator = node] = node.split(" ", 1);
    counts.set(operator, (counts.get(operator) ?? 0) + 1);
  }
  const notCovered = [...counts].map(([operator, count]) => `${count} ${operator}`);
  return { timeMs: estimate.timeNs / 1e6, notCovered };
}
