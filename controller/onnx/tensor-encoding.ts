/**
 * The shortest form of a tensor in a file: raw bytes, or for integers a list of varints where that is
 * shorter, as it is for shapes and axes (onnx.proto, comments of TensorProto).
 */
import { dataTypeOfCode } from "./data-type.ts";
import type { TensorProto } from "./schema.ts";
import { tensorData } from "./tensor.ts";
import { int64Bytes } from "./wire.ts";

/** The same tensor without documentation, under `name`; text and unknown types stay as they are. */
export function shortestTensor(tensor: TensorProto, name: string): TensorProto {
  const { docString: _doc, floatData, int32Data, int64Data, ...others } = tensor;
  const { doubleData, uint64Data, rawData, ...rest } = others;
  const bare: TensorProto = { ...rest, name, metadataProps: [] };
  const isTyped = dataTypeOfCode(tensor.dataType ?? 0) !== undefined;
  if (!isTyped || tensor.externalData.length > 0) {
    const stored = { floatData, int32Data, int64Data, doubleData, uint64Data, rawData };
    return { ...bare, ...defined(stored) };
  }
  const data = tensorData(tensor);
  const varints = (): boolean => varintLength(data) < data.byteLength;
  if (data instanceof BigInt64Array && varints()) return { ...bare, int64Data: data };
  if (data instanceof Int32Array && varints()) return { ...bare, int32Data: data };
  return { ...bare, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** Negative numbers take ten bytes each (protobuf.dev, "Encoding", signed integers). */
function varintLength(values: ArrayLike<number | bigint>): number {
  let bytes = 0;
  for (let index = 0; index < values.length; index++) bytes += int64Bytes(BigInt(values[index]!));
  return bytes;
}

function defined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
