/**
 * The protobuf wire format: varints, fixed-width numbers and length-delimited ranges over one byte
 * array. Knows nothing of ONNX.
 *
 * Invariants: the reader never reads beyond the end it was given and never allocates by a length
 * that the bytes do not hold; ranges are views of the given array, not copies.
 * Source: protobuf.dev, "Encoding".
 */
import { FleetError } from "../../shared/errors.ts";

export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** A varint of 64 bits takes ten bytes at most. */
const varintBytesMax = 10;

/** Reads from `bytes`, starting at `position`. */
export class WireReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** An unsigned varint below 2^53; throws `onnx-malformed` above. */
  varint(end: number): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < varintBytesMax; count++) {
      const byte = this.#byte(end);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) throw malformed("a length or tag is beyond 2^53");
        return value;
      }
      scale *= 128;
    }
    throw malformed("a varint is longer than ten bytes");
  }

  /** A varint as the 64 bits it carries, signed. */
  int64(end: number): bigint {
    let low = 0;
    let shift = 0;
    // Up to seven bytes stay exact in a double; nearly all values of a model end here.
    let scale = 1;
    while (shift < 49) {
      const byte = this.#byte(end);
      low += (byte & 0x7f) * scale;
      if (byte < 0x80) return BigInt(low);
      shift += 7;
      scale *= 128;
    }
    let value = BigInt(low);
    for (; shift < 70; shift += 7) {
      const byte = this.#byte(end);
      value |= BigInt(byte & 0x7f) << BigInt(shift);
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw malformed("a varint is longer than ten bytes");
  }

  float32(end: number): number {
    return this.#view.getFloat32(this.#fixed(4, end), true);
  }

  float64(end: number): number {
    return this.#view.getFloat64(this.#fixed(8, end), true);
  }

  /** Skips `byteCount` bytes and returns where they start. */
  #fixed(byteCount: number, end: number): number {
    const start = this.position;
    if (start + byteCount > end) throw overrun(this.bytes, end);
    this.position = start + byteCount;
    return start;
  }

  /** Reads a length, steps over as many bytes and returns where they end. `position` stays at their start. */
  rangeEnd(end: number): number {
    const length = this.varint(end);
    if (length > end - this.position) throw overrun(this.bytes, end);
    return this.position + length;
  }

  /** Steps over the value of one field. */
  skip(type: number, end: number): void {
    if (type === wireType.varint) this.int64(end);
    else if (type === wireType.fixed64) this.#fixed(8, end);
    else if (type === wireType.fixed32) this.#fixed(4, end);
    else if (type === wireType.bytes) this.position = this.rangeEnd(end);
    else throw malformed(`wire type ${type} is not used by ONNX`);
  }

  #byte(end: number): number {
    if (this.position >= end) throw overrun(this.bytes, end);
    return this.bytes[this.position++]!;
  }
}

/** Writes into a buffer whose size was computed before. */
export class WireWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  position = 0;

  constructor(byteCount: number) {
    this.bytes = new Uint8Array(byteCount);
    this.#view = new DataView(this.bytes.buffer);
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.position++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.position++] = rest;
  }

  int64(value: bigint): void {
    if (value >= 0n && value <= 0x1fffffffffffffn) {
      this.varint(Number(value));
      return;
    }
    let rest = BigInt.asUintN(64, value);
    while (rest >= 128n) {
      this.bytes[this.position++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.position++] = Number(rest);
  }

  float32(value: number): void {
    this.#view.setFloat32(this.position, value, true);
    this.position += 4;
  }

  float64(value: number): void {
    this.#view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.position);
    this.position += bytes.length;
  }
}

/** Bytes that `varint(value)` takes. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Bytes that `int64(value)` takes. */
export function int64Bytes(value: bigint): number {
  if (value < 0n) return varintBytesMax;
  if (value <= 0x1fffffffffffffn) return varintBytes(Number(value));
  let count = 1;
  for (let rest = value; rest >= 128n; rest >>= 7n) count++;
  return count;
}

export function malformed(what: string): FleetError {
  return new FleetError("onnx-malformed", `not a valid ONNX file: ${what}; export the model again`);
}

/** Running over the end of the file means that it was cut; over the end of a part, that it is junk. */
function overrun(bytes: Uint8Array, end: number): FleetError {
  if (end < bytes.length) return malformed("a part is longer than the part around it");
  return new FleetError(
    "onnx-truncated",
    `the file ends after ${bytes.length} bytes in the middle of a part: copy or export it again`,
    { details: { fileBytes: bytes.length } },
  );
}
