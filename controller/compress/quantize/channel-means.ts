/** Means of channels over positions and samples, as the corrections of biases compare them. */
import { assert } from "../../../shared/assert.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import { prefixModel } from "../calibration/prefix-model.ts";
import type { TensorValue, Workbench } from "../execute.ts";

/** Means over positions and samples settle early: more samples cost time and change little. */
const samplesMax = 64;

/** The mean of each channel in each sample, and how large values are. */
export class ChannelMeans {
  readonly #channelsLast: boolean;
  /** One entry per sample: the mean of each channel. */
  readonly bySample: Float64Array[] = [];
  /** Of the last sample. */
  shape: readonly number[] = [];
  /** Sum over samples of the mean square. */
  #squares = 0;

  constructor(channelsLast: boolean) {
    this.#channelsLast = channelsLast;
  }

  add({ data, shape }: TensorValue): void {
    assert(data instanceof Float32Array, "a layer reads and yields float32");
    const { channels, inner } = channelsOf(shape, this.#channelsLast);
    const count = data.length / channels;
    const sums = new Float64Array(channels);
    let squares = 0;
    for (let start = 0; start < data.length; start += inner) {
      const channel = (start / inner) % channels;
      for (let at = start; at < start + inner; at++) {
        sums[channel]! += data[at]!;
        squares += data[at]! ** 2;
      }
    }
    this.#squares += squares / data.length;
    const means = sums.map((sum) => sum / count);
    if (!means.every(Number.isFinite)) {
      throw unusable("a layer yields numbers that are not finite: check the samples and the model");
    }
    this.bySample.push(means);
    this.shape = shape;
  }

  rootMeanSquare(): number {
    return Math.sqrt(this.#squares / this.bySample.length);
  }

  /** The mean of each channel over all samples. */
  overall(): Float64Array {
    const samples = this.bySample.length;
    return this.bySample[0]!.map(
      (_, channel) => this.bySample.reduce((sum, means) => sum + means[channel]!, 0) / samples,
    );
  }

  /** A tensor of the last sample's shape that holds each channel's mean everywhere. */
  constant(): TensorValue {
    const means = this.overall();
    const { channels, inner } = channelsOf(this.shape, this.#channelsLast);
    const length = this.shape.reduce((all, dim) => all * dim, 1);
    const data = Float32Array.from(
      { length },
      (_, at) => means[Math.floor(at / inner) % channels]!,
    );
    return { type: "float32", shape: this.shape, data };
  }
}

/** How many channels a value has, and how many numbers of one lie side by side. */
function channelsOf(shape: readonly number[], channelsLast: boolean) {
  const axis = channelsLast ? shape.length - 1 : 1;
  const inner = shape.slice(axis + 1).reduce((all, dim) => all * dim, 1);
  return { channels: shape[axis]!, inner };
}

/** A value of a model, and whether its channels lie along its last axis or along axis 1. */
export interface ChanneledValue {
  readonly name: string;
  readonly channelsLast: boolean;
}

/**
 * The means of values of a model, in their order; graph inputs may be among them. Throws
 * `calibration-failed` when there are no samples or numbers are not finite.
 */
export async function observeMeans(
  model: Model,
  values: readonly ChanneledValue[],
  options: { readonly workbench: Workbench; readonly signal?: AbortSignal | undefined },
): Promise<{ readonly means: readonly ChannelMeans[]; readonly samples: number }> {
  const { workbench, signal } = options;
  const means = values.map(({ channelsLast }) => new ChannelMeans(channelsLast));
  const made = values.flatMap(({ name }) => (model.graph.isInput(name) ? [] : [name]));
  const loaded = await workbench.load(prefixModel(model, [...new Set(made)]).encode());
  let samples = 0;
  try {
    for await (const feeds of workbench.calibration()) {
      signal?.throwIfAborted();
      const outputs = await loaded.run(feeds);
      values.forEach(({ name }, at) => {
        means[at]!.add((outputs.get(name) ?? feeds.get(name))!);
      });
      samples++;
      if (samples === samplesMax) break;
    }
  } finally {
    await loaded.close();
  }
  if (samples === 0) throw unusable("there is no calibration data: add samples");
  return { means, samples };
}

function unusable(message: string): FleetError {
  return new FleetError("calibration-failed", message);
}
