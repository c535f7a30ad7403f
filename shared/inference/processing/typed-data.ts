/** Typed views over raw little-endian bytes, by ONNX element type; all machines we run on are little-endian. */
import type { Dtype } from "../../artifact/bundle.ts";

export type TypedData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array;

/** Bytes per element. float16 travels as its 16-bit pattern. */
export const elementBytes: Readonly<Record<Dtype, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  bool: 1,
};

const makers: Readonly<Record<Dtype, (buffer: ArrayBuffer) => TypedData>> = {
  float32: (buffer) => new Float32Array(buffer),
  float64: (buffer) => new Float64Array(buffer),
  float16: (buffer) => new Uint16Array(buffer),
  int8: (buffer) => new Int8Array(buffer),
  uint8: (buffer) => new Uint8Array(buffer),
  int16: (buffer) => new Int16Array(buffer),
  uint16: (buffer) => new Uint16Array(buffer),
  int32: (buffer) => new Int32Array(buffer),
  uint32: (buffer) => new Uint32Array(buffer),
  int64: (buffer) => new BigInt64Array(buffer),
  bool: (buffer) => new Uint8Array(buffer),
};

/** A typed copy of raw bytes; the length must be a whole number of elements. */
export function typedFromBytes(dtype: Dtype, bytes: Uint8Array): TypedData {
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return makers[dtype](copy);
}

/** An empty typed array of `count` elements. */
export function typedOfLength(dtype: Dtype, count: number): TypedData {
  return makers[dtype](new ArrayBuffer(count * elementBytes[dtype]));
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * Gives the memory of an array back at once; the array is empty then. Waiting for the garbage collector
 * lets some 50 MB pile up, since it looks at the heap and these bytes lie beside it (Node 24, measured).
 */
export function release({ buffer }: ArrayBufferView): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
