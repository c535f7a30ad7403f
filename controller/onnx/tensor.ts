/**
 * Tensors as typed arrays. Reads both forms that a file may use (raw bytes, or typed number lists)
 * and makes new tensors in the raw form, which is the smaller and faster one.
 *
 * Invariants: arrays returned by readers are to be read only, since they may be views of the file;
 * raw data are little-endian, as the format demands, and so is every machine that Node runs on here.
 */
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import {
  type DataOf,
  type DataType,
  dataTypes,
  requireDataType,
  type TensorData,
} from "./data-type.ts";
import type { TensorProto } from "./schema.ts";
import { declaredElements } from "./tensor-size.ts";
import { malformed } from "./wire.ts";

/** The shape as numbers. */
export function tensorShape(tensor: TensorProto): number[] {
  return tensor.dims.map(Number);
}

/** The number of elements; 1 for a scalar. */
export function tensorElements(tensor: TensorProto): number {
  return Number(declaredElements(tensor));
}

/** The element type; throws `onnx-unsupported` for text, complex and 8-bit floats. */
export function tensorType(tensor: TensorProto): DataType {
  return requireDataType(tensor.dataType, `tensor ${tensor.name ?? ""}`);
}

/** Bytes that the elements take, packed. */
export function tensorBytes(tensor: TensorProto): number {
  return Math.ceil((tensorElements(tensor) * dataTypes[tensorType(tensor)].bits) / 8);
}

/**
 * The elements in row-major order, in the array of their type (`DataOf`). Throws `onnx-malformed`
 * when the stored data do not fill the shape, `onnx-unsupported` when they are in another file.
 */
export function tensorData(tensor: TensorProto): TensorData {
  refuseExternal(tensor);
  const type = tensorType(tensor);
  const fact = dataTypes[type];
  const elements = tensorElements(tensor);
  const byteCount = Math.ceil((elements * fact.bits) / 8);
  const arrayLength = fact.bits < 8 ? byteCount : elements;
  if (tensor.rawData !== undefined) {
    const raw = tensor.rawData;
    if (raw.length !== byteCount) throw sizeMismatch(tensor, raw.length, byteCount);
    const elementBytes = Math.max(fact.bits / 8, 1);
    if (raw.byteOffset % elementBytes === 0) {
      return new fact.array(raw.buffer, raw.byteOffset, arrayLength);
    }
    return new fact.array(new Uint8Array(raw).buffer, 0, arrayLength);
  }
  const list = typedList(tensor, type);
  if (list === undefined && arrayLength > 0) throw sizeMismatch(tensor, 0, arrayLength);
  const stored = list ?? [];
  if (stored.length !== arrayLength) throw sizeMismatch(tensor, stored.length, arrayLength);
  const data = new fact.array(new ArrayBuffer(byteCount), 0, arrayLength);
  // int32_data holds the bits of a half, not its value (onnx.proto, comment of int32_data).
  const cells = type === "float16" ? new Uint16Array(data.buffer) : data;
  for (let index = 0; index < arrayLength; index++) cells[index] = stored[index] as never;
  return data;
}

/** As `tensorData`, typed; the tensor must have the type `type`, which the caller knows. */
export function tensorDataAs<T extends DataType>(tensor: TensorProto, type: T): DataOf[T] {
  const actual = tensorType(tensor);
  assert(actual === type, `tensor ${tensor.name ?? ""} is ${actual}, not ${type}`);
  return tensorData(tensor) as DataOf[T];
}

/** The elements of a float tensor (float16 to float64) as float32: a view where it is float32. */
export function tensorFloats(tensor: TensorProto): Float32Array {
  const type = tensorType(tensor);
  const data = tensorData(tensor);
  if (data instanceof Float32Array) return data;
  if (data instanceof Float64Array || data instanceof Float16Array) return new Float32Array(data);
  if (type === "bfloat16") {
    const bits = Uint32Array.from(data as Uint16Array, (half) => half << 16);
    return new Float32Array(bits.buffer);
  }
  throw new FleetError(
    "onnx-unsupported",
    `tensor ${tensor.name ?? ""} is ${type} where floating point is needed: export the model again`,
  );
}

/** The elements as numbers, for small tensors such as axes and shapes; int64 must be below 2^53. */
export function tensorNumbers(tensor: TensorProto): number[] {
  const type = tensorType(tensor);
  const data = dataTypes[type].isFloat ? tensorFloats(tensor) : tensorData(tensor);
  return Array.from(data as ArrayLike<number | bigint>, (value) => {
    const number = Number(value);
    if (typeof value === "bigint" && !Number.isSafeInteger(number)) {
      throw malformed(`tensor ${tensor.name ?? ""} holds ${value}`);
    }
    return number;
  });
}

/** The one element of a scalar or of a tensor with one element; undefined for other sizes. */
export function tensorScalar(tensor: TensorProto): number | undefined {
  return tensorElements(tensor) === 1 ? tensorNumbers(tensor)[0] : undefined;
}

/** A tensor over `data`, which must fill `shape` and must not be written to afterwards. */
export function makeTensor<T extends DataType>(options: {
  readonly name: string;
  readonly type: T;
  readonly shape: readonly number[];
  readonly data: DataOf[T];
}): TensorProto {
  const { name, type, shape, data } = options;
  const elements = shape.reduce((product, dim) => product * dim, 1);
  const fact = dataTypes[type];
  const expected = fact.bits < 8 ? Math.ceil((elements * fact.bits) / 8) : elements;
  const view = data as TensorData;
  assert(view.length === expected, `${name}: ${view.length} elements do not fill [${shape}]`);
  return {
    dims: shape.map(BigInt),
    dataType: fact.code,
    stringData: [],
    name,
    rawData: new Uint8Array(view.buffer, view.byteOffset, view.byteLength),
    externalData: [],
    metadataProps: [],
  };
}

/** A float32 tensor. */
export function floatTensor(
  name: string,
  shape: readonly number[],
  values: ArrayLike<number>,
): TensorProto {
  return makeTensor({ name, type: "float32", shape, data: Float32Array.from(values) });
}

/** An int64 tensor, one-dimensional unless a shape is given. */
export function intTensor(
  name: string,
  values: readonly number[],
  shape: readonly number[] = [values.length],
): TensorProto {
  return makeTensor({ name, type: "int64", shape, data: BigInt64Array.from(values, BigInt) });
}

/** The same tensor under another name. */
export function renameTensor(tensor: TensorProto, name: string): TensorProto {
  return { ...tensor, name };
}

/** True when the elements are in another file. */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === 1 || tensor.externalData.length > 0;
}

/** Throws `onnx-unsupported` when the elements are in another file. */
export function refuseExternal(tensor: TensorProto): void {
  if (!isExternal(tensor)) return;
  throw new FleetError(
    "onnx-unsupported",
    `tensor ${tensor.name ?? ""} keeps its data in another file: save the model as one file, or let fleetfit read it from its folder`,
    { details: { tensor: tensor.name ?? "" } },
  );
}

/** Which list a type uses (onnx.proto, comments of TensorProto). */
function typedList(tensor: TensorProto, type: DataType): ArrayLike<number | bigint> | undefined {
  if (type === "float32") return tensor.floatData;
  if (type === "float64") return tensor.doubleData;
  if (type === "int64") return tensor.int64Data;
  if (type === "uint64") return tensor.uint64Data;
  if (type === "uint32") {
    return tensor.uint64Data === undefined ? undefined : Array.from(tensor.uint64Data, Number);
  }
  return tensor.int32Data;
}

function sizeMismatch(tensor: TensorProto, stored: number, declared: number): FleetError {
  return malformed(
    `tensor ${tensor.name ?? ""} of shape [${tensor.dims}] stores ${stored} where ${declared} are due`,
  );
}
