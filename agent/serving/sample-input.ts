/**
 * What a client sends for one input, as the raw bytes that the model's process takes: base64 of the
 * sample, or nested arrays of numbers in the sample's shape. An input of text takes the text itself.
 */
import { type Dtype, type InputSpec, tokenizeStep } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import { textSample } from "../../shared/inference/processing/text.ts";
import { elementBytes, elementCount } from "../../shared/inference/processing/typed-data.ts";

/** Base64 as RFC 4648 section 4 has it, padding included. */
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

type Write = (view: DataView, at: number, value: number) => void;

/** Bounds of the integer types, both included; float types take any number. */
const integerRange: Partial<Record<Dtype, readonly [number, number]>> = {
  bool: [0, 1],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const writers: Readonly<Record<Dtype, Write>> = {
  bool: (view, at, value) => view.setUint8(at, value),
  int8: (view, at, value) => view.setInt8(at, value),
  uint8: (view, at, value) => view.setUint8(at, value),
  int16: (view, at, value) => view.setInt16(at, value, true),
  uint16: (view, at, value) => view.setUint16(at, value, true),
  int32: (view, at, value) => view.setInt32(at, value, true),
  uint32: (view, at, value) => view.setUint32(at, value, true),
  int64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  float16: (view, at, value) => view.setFloat16(at, value, true),
  float32: (view, at, value) => view.setFloat32(at, value, true),
  float64: (view, at, value) => view.setFloat64(at, value, true),
};

/**
 * Little-endian bytes of one sample. Errors: `input-invalid`. The length of base64 is judged by the
 * model's process, which knows what it takes.
 */
export function sampleBytes(spec: InputSpec, value: unknown): Uint8Array {
  const { tensor, sample } = spec;
  const wrong = (why: string) => new FleetError("input-invalid", `input ${tensor}: ${why}`);
  if (typeof value === "string" && tokenizeStep(spec) !== undefined) {
    const bytesMax = elementCount(sample.shape);
    const text = textSample(value, bytesMax);
    if (text === undefined) throw wrong(`the text is longer than ${bytesMax} bytes in UTF-8`);
    return text;
  }
  if (typeof value === "string") {
    if (!base64.test(value)) throw wrong("not base64");
    return new Uint8Array(Buffer.from(value, "base64"));
  }
  const { dtype, shape } = sample;
  const bytes = new Uint8Array(elementCount(shape) * elementBytes[dtype]);
  const view = new DataView(bytes.buffer);
  const range = integerRange[dtype];
  let at = 0;
  const fill = (part: unknown, axis: number): void => {
    if (axis < shape.length) {
      if (!Array.isArray(part) || part.length !== shape[axis]) {
        throw wrong(`not nested arrays of shape [${shape.join(", ")}]`);
      }
      for (const one of part) fill(one, axis + 1);
      return;
    }
    const number = typeof part === "boolean" && dtype === "bool" ? Number(part) : part;
    if (typeof number !== "number" || !fits(number, range)) {
      throw wrong(`${JSON.stringify(part)?.slice(0, 40)} is no ${dtype}`);
    }
    writers[dtype](view, at, number);
    at += elementBytes[dtype];
  };
  fill(value, 0);
  return bytes;
}

function fits(value: number, range: readonly [number, number] | undefined): boolean {
  return range === undefined
    ? Number.isFinite(value)
    : Number.isInteger(value) && value >= range[0] && value <= range[1];
}
