/**
 * Runs a tapped model over calibration batches and collects the range of each wanted value.
 *
 * Invariant: at most one batch of activations is held at a time; batches are read once per pass of
 * the method, so `batches` must yield the same ones each time it is called.
 */
import { assert } from "../../../shared/assert.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Feeds, RunBatch } from "../execute.ts";
import type { Range } from "../quantize/scale.ts";
import type { CalibrationMethod, Observer } from "./observer.ts";

export interface CollectOptions {
  readonly tensors: readonly string[];
  readonly method: CalibrationMethod;
  readonly batches: () => Iterable<Feeds> | AsyncIterable<Feeds>;
  /** Runs the model that `tapModel` made for `tensors`. */
  readonly run: RunBatch;
  readonly signal?: AbortSignal;
}

/** Ranges by value name. Throws `calibration-failed` when there is no batch or a value is not finite. */
export async function collectRanges(options: CollectOptions): Promise<Map<string, Range>> {
  const { method, tensors } = options;
  const first = await observe(
    options,
    tensors.map((name) => [name, method.first()]),
  );
  const { second } = method;
  if (second === undefined) return first;
  return observe(
    options,
    tensors.map((name) => [name, second(first.get(name)!)]),
  );
}

async function observe(
  options: CollectOptions,
  observers: readonly (readonly [string, Observer])[],
): Promise<Map<string, Range>> {
  let batchCount = 0;
  for await (const feeds of options.batches()) {
    options.signal?.throwIfAborted();
    const outputs = await options.run(feeds);
    for (const [name, observer] of observers) {
      const value = outputs.get(name) ?? feeds.get(name);
      assert(value !== undefined, `the tapped model yields no ${name}`);
      assert(value.data instanceof Float32Array, `${name} is ${value.type}, not float32`);
      requireFinite(name, value.data);
      observer.observe(value.data);
    }
    batchCount++;
  }
  if (batchCount === 0) {
    throw new FleetError("calibration-failed", "there is no calibration data: add samples");
  }
  return new Map(observers.map(([name, observer]) => [name, observer.range()]));
}

function requireFinite(name: string, values: Float32Array): void {
  for (const value of values) {
    if (Number.isFinite(value)) continue;
    throw new FleetError(
      "calibration-failed",
      `the model yields ${value} at ${name} for calibration data: check the data and the model`,
      { details: { tensor: name } },
    );
  }
}
