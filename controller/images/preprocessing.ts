/**
 * How a picture becomes a model's input: what is done once to the golden set's samples (resizing, cropping, the
 * order of colours) and what every device does to each sample (scaling, layout), as steps of the interface.
 */
import type { InputSpec } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import type { Model } from "../onnx/model.ts";

export interface PictureOptions {
  /** Height and width that the model takes; from the model when left out. */
  readonly size?: readonly [number, number] | undefined;
  /** Shorter side before the middle is cut out, e.g. 256 for 224; no more than what is needed otherwise. */
  readonly resizeTo?: number | undefined;
  /** `cover` cuts what is beyond, `contain` fills with black, `fill` stretches. */
  readonly fit: "cover" | "contain" | "fill";
  readonly order: "rgb" | "bgr";
  /** value = (pixel · scale − mean) / std, per channel; one value stands for all. */
  readonly scale: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export interface Picture {
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
  /** What is asked of the decoder. */
  readonly resizeTo: number | undefined;
  readonly fit: PictureOptions["fit"];
  readonly order: PictureOptions["order"];
  readonly input: InputSpec;
}

const sideMax = 8_192;

/**
 * The model's one input must be a picture: [N, C, H, W] or [N, H, W, C] with 1 or 3 channels. Errors:
 * `golden-mismatch` for another model, `input-invalid` for options that do not fit.
 */
export function pictureOf(model: Model, options: PictureOptions): Picture {
  const { graph } = model;
  const inputs = graph.inputNames.filter((name) => !graph.initializers.has(name));
  const [tensor, ...others] = inputs;
  if (tensor === undefined || others.length > 0) {
    throw mismatch(`a model of one input is needed, this one has ${inputs.length}`);
  }
  const shape = graph.declaredShape(tensor);
  if (shape?.length !== 4) throw mismatch(`input ${tensor} is no picture of four dims`);
  const isChannelsFirst = isChannels(shape[1]);
  const channels = isChannelsFirst ? shape[1] : shape[3];
  if (!isChannels(channels)) throw mismatch(`input ${tensor} has neither 1 nor 3 channels`);
  const declared = isChannelsFirst ? shape.slice(2) : shape.slice(1, 3);
  const [height, width] = sizeOf(declared, options.size, tensor);
  const { resizeTo } = options;
  if (resizeTo !== undefined && resizeTo < Math.max(height, width)) {
    throw new FleetError(
      "input-invalid",
      `--resize-to ${resizeTo} is less than ${Math.max(height, width)}, which is cut out of it`,
    );
  }
  const { scale, offset } = affineOf(options, channels);
  return {
    height,
    width,
    channels,
    resizeTo,
    fit: options.fit,
    order: options.order,
    input: {
      tensor,
      sample: { dtype: "uint8", shape: [height, width, channels] },
      steps: [
        { op: "cast", to: "float32" },
        { op: "affine", axis: 2, scale, offset },
        ...(isChannelsFirst ? [{ op: "transpose" as const, order: [2, 0, 1] }] : []),
      ],
    },
  };
}

const isChannels = (dim: unknown): dim is 1 | 3 => dim === 1 || dim === 3;

function sizeOf(
  declared: readonly unknown[],
  wanted: readonly [number, number] | undefined,
  tensor: string,
): [number, number] {
  const [height, width] = declared.map((dim, at) => {
    const fixed = typeof dim === "number" && dim > 0 ? dim : undefined;
    const side = wanted?.[at] ?? fixed;
    if (side === undefined) {
      throw new FleetError(
        "input-invalid",
        `input ${tensor} leaves its size open: name it, e.g. --size 224x224`,
      );
    }
    if (fixed !== undefined && fixed !== side) {
      throw new FleetError("input-invalid", `input ${tensor} takes ${fixed}, not ${side}`);
    }
    return side;
  }) as [number, number];
  if (height > sideMax || width > sideMax) {
    throw new FleetError("input-invalid", `a side of more than ${sideMax} pixels is not read`);
  }
  return [height, width];
}

function affineOf({ scale, mean, std }: PictureOptions, channels: number) {
  const spread = (name: string, values: readonly number[]) => {
    if (values.length !== 1 && values.length !== channels) {
      throw new FleetError(
        "input-invalid",
        `${name} has ${values.length} values for ${channels} channels: give one, or one each`,
      );
    }
    return Array.from({ length: channels }, (_, at) => values[values.length === 1 ? 0 : at]!);
  };
  const means = spread("--mean", mean);
  const stds = spread("--std", std);
  if (stds.some((value) => !(value > 0))) {
    throw new FleetError("input-invalid", "--std must be above 0");
  }
  return {
    scale: stds.map((value) => scale / value),
    offset: means.map((value, at) => (0 - value) / stds[at]!),
  };
}

function mismatch(reason: string): FleetError {
  return new FleetError("golden-mismatch", reason);
}
