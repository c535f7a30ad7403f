/**
 * The element types of tensors: their number in the file, their size, and the typed array that holds
 * their elements here.
 *
 * bfloat16 is held as its bits, bool as 0 and 1. Types below 8 bits are held packed, as in the file.
 */
import { FleetError } from "../../shared/errors.ts";

export type TensorData =
  | Float16Array
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export interface DataTypeFact {
  /** TensorProto.DataType. */
  readonly code: number;
  readonly bits: number;
  readonly array: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => TensorData;
  readonly isFloat: boolean;
}

const facts = {
  float32: { code: 1, bits: 32, array: Float32Array, isFloat: true },
  uint8: { code: 2, bits: 8, array: Uint8Array, isFloat: false },
  int8: { code: 3, bits: 8, array: Int8Array, isFloat: false },
  uint16: { code: 4, bits: 16, array: Uint16Array, isFloat: false },
  int16: { code: 5, bits: 16, array: Int16Array, isFloat: false },
  int32: { code: 6, bits: 32, array: Int32Array, isFloat: false },
  int64: { code: 7, bits: 64, array: BigInt64Array, isFloat: false },
  bool: { code: 9, bits: 8, array: Uint8Array, isFloat: false },
  float16: { code: 10, bits: 16, array: Float16Array, isFloat: true },
  float64: { code: 11, bits: 64, array: Float64Array, isFloat: true },
  uint32: { code: 12, bits: 32, array: Uint32Array, isFloat: false },
  uint64: { code: 13, bits: 64, array: BigUint64Array, isFloat: false },
  bfloat16: { code: 16, bits: 16, array: Uint16Array, isFloat: true },
  uint4: { code: 21, bits: 4, array: Uint8Array, isFloat: false },
  int4: { code: 22, bits: 4, array: Uint8Array, isFloat: false },
} as const satisfies Record<string, DataTypeFact>;

export type DataType = keyof typeof facts;

export const dataTypes: Readonly<Record<DataType, DataTypeFact>> = facts;

/** The typed array of an element type. */
export interface DataOf {
  readonly float32: Float32Array;
  readonly uint8: Uint8Array;
  readonly int8: Int8Array;
  readonly uint16: Uint16Array;
  readonly int16: Int16Array;
  readonly int32: Int32Array;
  readonly int64: BigInt64Array;
  readonly bool: Uint8Array;
  readonly float16: Float16Array;
  readonly float64: Float64Array;
  readonly uint32: Uint32Array;
  readonly uint64: BigUint64Array;
  readonly bfloat16: Uint16Array;
  readonly uint4: Uint8Array;
  readonly int4: Uint8Array;
}

const byCode: ReadonlyMap<number, DataType> = new Map(
  (Object.keys(facts) as DataType[]).map((name) => [facts[name].code, name]),
);

/** The type of a code, undefined for text, complex and 8-bit float types, which have no array here. */
export function dataTypeOfCode(code: number): DataType | undefined {
  return byCode.get(code);
}

/** As `dataTypeOfCode`, but throws `onnx-unsupported`, naming `where`. */
export function requireDataType(code: number | undefined, where: string): DataType {
  const known = byCode.get(code ?? 0);
  if (known !== undefined) return known;
  throw new FleetError(
    "onnx-unsupported",
    `${where} has element type ${code ?? 0}, which is not handled: export the model with another type`,
  );
}
