/**
 * What each channel of a value takes: least, greatest, mean and mean square, over all calibration samples.
 *
 * Values: float32 of any shape whose channel axis is as `ScaledValue` says; batches are reduced over all
 * other axes in double precision.
 *
 * Invariant: memory grows with the number of channels, not of samples; one batch is held at a time.
 */
import { assert } from "../../../shared/assert.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import { tapModel } from "../calibration/tap-model.ts";
import type { TensorValue, Workbench } from "../execute.ts";
import { channelAt, fitsAxis, type ScaledValue } from "./scaled-value.ts";

/** One entry per channel. */
export interface ChannelRanges {
  readonly min: Float64Array;
  readonly max: Float64Array;
  readonly mean: Float64Array;
  readonly meanSquare: Float64Array;
}

export interface ObserveChannelsOptions {
  readonly model: Model;
  readonly values: ReadonlyMap<string, ScaledValue>;
  readonly workbench: Workbench;
  readonly signal?: AbortSignal | undefined;
  /** The first so many samples are enough; all by default. */
  readonly samplesMax?: number;
}

/**
 * Runs the model on the calibration samples. Throws `calibration-failed` when there are none, when a
 * value is not finite, or when it has not the channels that it should have.
 */
export async function observeChannels(
  options: ObserveChannelsOptions,
): Promise<Map<string, ChannelRanges>> {
  const { model, values, workbench, signal, samplesMax = Number.POSITIVE_INFINITY } = options;
  const observers = new Map([...values].map(([name, value]) => [name, new ChannelObserver(value)]));
  const tapped = await workbench.load(tapModel(model, values.keys()).encode());
  try {
    let batchCount = 0;
    for await (const feeds of workbench.calibration()) {
      signal?.throwIfAborted();
      const outputs = await tapped.run(feeds);
      for (const [name, observer] of observers) {
        observer.observe(name, outputs.get(name) ?? feeds.get(name));
      }
      batchCount++;
      if (batchCount >= samplesMax) break;
    }
    if (batchCount === 0) throw failed("there is no calibration data: add samples");
  } finally {
    await tapped.close();
  }
  return new Map([...observers].map(([name, observer]) => [name, observer.ranges()]));
}

class ChannelObserver {
  readonly #value: ScaledValue;
  readonly #min: Float64Array;
  readonly #max: Float64Array;
  readonly #sums: Float64Array;
  readonly #squares: Float64Array;
  #perChannel = 0;

  constructor(value: ScaledValue) {
    const channels = value.variables.length;
    this.#value = value;
    this.#min = new Float64Array(channels).fill(Number.POSITIVE_INFINITY);
    this.#max = new Float64Array(channels).fill(Number.NEGATIVE_INFINITY);
    this.#sums = new Float64Array(channels);
    this.#squares = new Float64Array(channels);
  }

  observe(name: string, tensor: TensorValue | undefined): void {
    assert(tensor !== undefined, `the tapped model yields no ${name}`);
    const { data, shape } = tensor;
    assert(data instanceof Float32Array, `${name} is ${tensor.type}, not float32`);
    const axis = shape.length - this.#value.axisFromEnd;
    const length = shape[axis] ?? 0;
    if (!fitsAxis(this.#value, length)) {
      throw failed(`${name} has the shape [${shape}]: check the data and the model`, name);
    }
    const run = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
    for (let start = 0; start < data.length; start += run) {
      const channel = channelAt(this.#value, (start / run) % length, length);
      const squares = this.#observeRun(data, start, start + run, channel);
      if (Number.isFinite(squares)) continue;
      throw failed(`the model yields no numbers at ${name}: check the data and the model`, name);
    }
    this.#perChannel += data.length / this.#value.variables.length;
  }

  ranges(): ChannelRanges {
    const count = Math.max(this.#perChannel, 1);
    return {
      min: this.#min,
      max: this.#max,
      mean: this.#sums.map((sum) => sum / count),
      meanSquare: this.#squares.map((sum) => sum / count),
    };
  }

  /** Takes in neighbours of one channel; returns the sum of their squares. */
  #observeRun(data: Float32Array, start: number, end: number, channel: number): number {
    let min = this.#min[channel]!;
    let max = this.#max[channel]!;
    let sum = 0;
    let squares = 0;
    // Most of the time of an observation is spent here: no views, no iterators.
    for (let at = start; at < end; at++) {
      const value = data[at]!;
      if (value < min) min = value;
      if (value > max) max = value;
      sum += value;
      squares += value * value;
    }
    this.#min[channel] = min;
    this.#max[channel] = max;
    this.#sums[channel]! += sum;
    this.#squares[channel]! += squares;
    return squares;
  }
}

function failed(message: string, tensor?: string): FleetError {
  return new FleetError("calibration-failed", message, {
    ...(tensor === undefined ? {} : { details: { tensor } }),
  });
}

/**
 * Ranges with room for what the samples did not show: a channel that never spoke, as behind a Relu, may do
 * on others what any channel does. Scaled to fill the range it would be cut as soon as it speaks.
 */
export function withRoom(ranges: ChannelRanges): ChannelRanges {
  const { min, max } = ranges;
  const least = min.reduce((one, other) => Math.min(one, other), 0);
  const greatest = max.reduce((one, other) => Math.max(one, other), 0);
  const isSilent = (channel: number): boolean => min[channel] === 0 && max[channel] === 0;
  return {
    ...ranges,
    min: min.map((value, channel) => (isSilent(channel) ? least : value)),
    max: max.map((value, channel) => (isSilent(channel) ? greatest : value)),
  };
}
