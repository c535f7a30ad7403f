/**
 * Mean and deviation of each channel of what linear nodes make, kept in the model's metadata while passes
 * change its weights, so that they can be put back.
 *
 * Form: metadata_props entry, JSON { value: { mean, deviation } }, both float32 little-endian in base64,
 * one element per channel. Read as untrusted: a file from outside may carry anything under this key.
 */
import { z } from "zod";
import { FleetError } from "../../../shared/errors.ts";
import { Model } from "../../onnx/model.ts";
import type { ChannelRanges } from "./channel-ranges.ts";

const key = "fleetfit.channel-statistics";
/** Twice the channels of the largest network in use, in base64. */
const textLengthMax = 16_000_000;

export interface ChannelStatistics {
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

const floats = z.base64().transform((text, context) => {
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  const values =
    bytes.length % 4 === 0 ? new Float32Array(bytes.buffer) : Float32Array.of(Number.NaN);
  if (values.every(Number.isFinite)) return values;
  context.addIssue({ code: "custom", message: "not float32 numbers" });
  return z.NEVER;
});

const recordSchema = z.record(
  z.string(),
  z
    .strictObject({ mean: floats, deviation: floats })
    .refine(({ mean, deviation }) => mean.length === deviation.length, "lengths differ"),
);

/** The statistics of what was observed. */
export function statisticsOf({ mean, meanSquare }: ChannelRanges): ChannelStatistics {
  return {
    mean: Float32Array.from(mean),
    deviation: Float32Array.from(meanSquare, (square, channel) =>
      Math.sqrt(Math.max(square - mean[channel]! ** 2, 0)),
    ),
  };
}

/** What the model carries, by value name; undefined without a record. Throws `onnx-malformed`. */
export function recordedStatistics(model: Model): Map<string, ChannelStatistics> | undefined {
  const text = model.toProto().metadataProps.find((entry) => entry.key === key)?.value;
  if (text === undefined) return undefined;
  const parsed = recordSchema.safeParse(parseJson(text));
  if (parsed.success) return new Map(Object.entries(parsed.data));
  throw new FleetError(
    "onnx-malformed",
    `the statistics in the model's metadata entry ${key} are damaged: remove the entry`,
    { cause: parsed.error },
  );
}

/** Writes or, without statistics, removes the record; false when the model carries the same already. */
export function recordStatistics(
  model: Model,
  statistics: ReadonlyMap<string, ChannelStatistics> | undefined,
): boolean {
  const proto = model.toProto();
  const others = proto.metadataProps.filter((entry) => entry.key !== key);
  const entries = statistics === undefined ? [] : [{ key, value: encode(statistics) }];
  const old = proto.metadataProps.find((entry) => entry.key === key)?.value;
  if (old === entries[0]?.value) return false;
  model.replaceWith(Model.fromProto({ ...proto, metadataProps: [...others, ...entries] }));
  return true;
}

function encode(statistics: ReadonlyMap<string, ChannelStatistics>): string {
  const base64 = (values: Float32Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
  const fields = [...statistics].map(([name, { mean, deviation }]) => [
    name,
    { mean: base64(mean), deviation: base64(deviation) },
  ]);
  return JSON.stringify(Object.fromEntries(fields));
}

function parseJson(text: string): unknown {
  if (text.length > textLengthMax) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
