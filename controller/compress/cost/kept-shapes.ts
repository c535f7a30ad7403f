/**
 * Shapes of the values of a variant, kept beside it: with them its time is foretold on every processor whose
 * cost table is known, then or later, without running it again.
 */
import { z } from "zod";
import { isFleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import type { Workbench } from "../execute.ts";
import { inferShapes } from "../infer-shapes.ts";
import type { Shapes } from "./estimate.ts";

const valuesMax = 20_000;
const rankMax = 16;

/** Pairs of name and lengths; weights are left out, since the file tells theirs. */
export const keptShapesSchema = z
  .array(z.tuple([z.string(), z.array(z.int().min(0)).max(rankMax)]))
  .max(valuesMax);
export type KeptShapes = z.infer<typeof keptShapesSchema>;

/** Null where the file does not run on a sample, and where it has more values than are kept. */
export async function keptShapes(model: Model, workbench: Workbench): Promise<KeptShapes | null> {
  try {
    const shapes = [...((await inferShapes(model, workbench)) ?? [])]
      .filter(([name]) => !model.graph.initializers.has(name))
      .map(([name, { shape }]): KeptShapes[number] => [name, [...shape]]);
    const isKept =
      shapes.length <= valuesMax && shapes.every(([, { length }]) => length <= rankMax);
    return isKept && shapes.length > 0 ? shapes : null;
  } catch (error) {
    if (isFleetError(error)) return null;
    throw error;
  }
}

/** All shapes of a model, those of its weights included. */
export function allShapes({ graph }: Model, kept: KeptShapes): Shapes {
  const shapes = new Map<string, readonly number[]>(kept);
  for (const name of graph.initializers.keys()) {
    const lengths = (graph.declaredShape(name) ?? []).filter((dim) => typeof dim === "number");
    shapes.set(name, lengths);
  }
  return shapes;
}
