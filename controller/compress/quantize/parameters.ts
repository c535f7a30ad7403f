/**
 * The scale and zero point of every quantized value: from observed ranges, from operators whose
 * output range never changes, or taken over from the value it is a part of.
 */
import { assert } from "../../../shared/assert.ts";
import {
  activationParameters,
  clamp,
  type QuantizationParameters,
  type Range,
  roundHalfEven,
  scaleWithin,
} from "./scale.ts";
import type { ActivationFormat } from "./scheme.ts";
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
        ? ownParameters(makers.get(name), name, ranges, format)
        : parametersOf(origin);
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
  format: ActivationFormat,
): QuantizationParameters {
  const range = fixedRange(maker) ?? ranges.get(name);
  assert(range !== undefined, `no range of ${name} was observed`);
  const bounds = maker?.absorbed?.bounds;
  if (bounds === undefined) return activationParameters(range, format);
  const max = Math.min(range.max, bounds.max);
  const { scale, zeroPoint } = activationParameters({ min: 0, max }, format);
  const steps = format.codes.max - zeroPoint;
  return { scale: max > 0 ? scaleWithin(scale, bounds.max, steps) : scale, zeroPoint };
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
