/**
 * The scale and zero point of every quantized value: from observed ranges, from operators whose
 * output range never changes, or taken over from the value it is a part of.
 */
import { assert } from "../../../shared/assert.ts";
import {
  type ActivationFormat,
  clamp,
  type QuantizationParameters,
  type Range,
  roundHalfEven,
  scaleAndZeroPoint,
} from "./scale.ts";
import type { SelectedNode, Selection } from "./selection.ts";

/** Values whose range has to be observed. */
export function valuesToObserve(selection: Selection): string[] {
  const makers = makersOf(selection);
  const wanted = [...selection.values].filter((name) => {
    if (selection.sharedWith.has(name)) return false;
    return fixedRange(makers.get(name)) === undefined;
  });
  return [...new Set(wanted.map((name) => selection.cutTo.get(name) ?? name))].sort();
}

/** Parameters by value name, and the value they come from; shared ones are the same object. */
export function valueParameters(
  selection: Selection,
  ranges: ReadonlyMap<string, Range>,
  format: ActivationFormat,
): Map<string, QuantizationParameters> {
  const makers = makersOf(selection);
  const parameters = new Map<string, QuantizationParameters>();
  const parametersOf = (name: string): QuantizationParameters => {
    const known = parameters.get(name);
    if (known !== undefined) return known;
    const origin = selection.sharedWith.get(name);
    const made =
      origin === undefined
        ? ownParameters(makers.get(name), ranges.get(selection.cutTo.get(name) ?? name), format)
        : parametersOf(origin);
    parameters.set(name, made);
    return made;
  };
  for (const name of selection.values) parametersOf(name);
  return parameters;
}

function ownParameters(
  maker: SelectedNode | undefined,
  observed: Range | undefined,
  { codes, symmetric }: ActivationFormat,
): QuantizationParameters {
  const range = fixedRange(maker) ?? observed;
  assert(range !== undefined, "no range of a value was observed");
  const bounds = maker?.absorbed?.bounds;
  if (bounds === undefined) return scaleAndZeroPoint(range, codes, symmetric);
  // Code by code what the activation does: nothing below its lower bound, nothing above its upper one.
  const min = Math.max(range.min, bounds.min);
  const max = Math.min(range.max, bounds.max);
  const { scale, zeroPoint } = scaleAndZeroPoint({ min, max }, codes, symmetric);
  return { scale, zeroPoint: bounds.min === 0 ? codes.min : zeroPoint };
}

/** Stored codes that calibration reaches at a value; all of them where no range was observed. */
export function codesReached(
  range: Range | undefined,
  { scale, zeroPoint }: QuantizationParameters,
  { codes }: ActivationFormat,
): Range {
  if (range === undefined) return codes;
  const codeOf = (value: number): number =>
    clamp(roundHalfEven(Math.fround(value / scale)) + zeroPoint, codes);
  return { min: codeOf(range.min), max: codeOf(range.max) };
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
