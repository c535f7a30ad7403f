/**
 * The scale and zero point of every quantized value: from observed ranges, from operators whose
 * output range never changes, or taken over from the value it is a part of.
 */
import { assert } from "../../../shared/assert.ts";
import {
  activationParameters,
  type QuantizationParameters,
  type Range,
  scaleWithin,
} from "./scale.ts";
import type { SelectedNode, Selection } from "./selection.ts";

/** Values whose range has to be observed. */
export function valuesToObserve(selection: Selection): string[] {
  const makers = makersOf(selection);
  const wanted = [...selection.values].filter((name) => {
    if (selection.sharedWith.has(name)) return false;
    return fixedRange(makers.get(name)) === undefined;
  });
  return wanted.sort();
}

/** Parameters by value name, and the value they come from; shared ones are the same object. */
export function valueParameters(
  selection: Selection,
  ranges: ReadonlyMap<string, Range>,
): Map<string, QuantizationParameters> {
  const makers = makersOf(selection);
  const parameters = new Map<string, QuantizationParameters>();
  const parametersOf = (name: string): QuantizationParameters => {
    const known = parameters.get(name);
    if (known !== undefined) return known;
    const origin = selection.sharedWith.get(name);
    const made =
      origin === undefined ? ownParameters(makers.get(name), name, ranges) : parametersOf(origin);
    parameters.set(name, made);
    return made;
  };
  for (const name of selection.values) parametersOf(name);
  return parameters;
}

function ownParameters(
  maker: SelectedNode | undefined,
  name: string,
  ranges: ReadonlyMap<string, Range>,
): QuantizationParameters {
  const range = fixedRange(maker) ?? ranges.get(name);
  assert(range !== undefined, `no range of ${name} was observed`);
  const bounds = maker?.absorbed?.bounds;
  if (bounds === undefined) return activationParameters(range);
  const max = Math.min(range.max, bounds.max);
  const { scale, zeroPoint } = activationParameters({ min: 0, max });
  return { scale: max > 0 ? scaleWithin(scale, bounds.max) : scale, zeroPoint };
}

function fixedRange(maker: SelectedNode | undefined): Range | undefined {
  if (maker?.role.kind !== "computed" || maker.absorbed !== undefined) return undefined;
  return maker.role.range;
}

function makersOf(selection: Selection): Map<string, SelectedNode> {
  return new Map(
    selection.nodes.flatMap((selected) => selected.outputs.map((name) => [name, selected])),
  );
}
