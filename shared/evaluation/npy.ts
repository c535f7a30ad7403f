/**
 * The .npy format, versions 1 to 3 (NumPy Enhancement Proposal 1): little-endian, C order, numeric.
 */
import type { Dtype } from "../artifact/bundle.ts";
import { FleetError } from "../errors.ts";
import { elementBytes, elementCount } from "../inference/processing/typed-data.ts";
import { type ByteSource, bytesInMemory, partOf, readAll } from "../ports/byte-source.ts";

export interface NpyArray {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Raw little-endian elements, C order; a view of the file's bytes. */
  readonly data: Uint8Array;
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** Magic, version and the header's length, of the longer form. */
const leadBytes = 12;
const headerBytesMax = 65_536;
const rankMax = 9;

const dtypes: Readonly<Record<string, Dtype>> = {
  "|u1": "uint8",
  "<u1": "uint8",
  "|i1": "int8",
  "<i1": "int8",
  "|b1": "bool",
  "<u2": "uint16",
  "<i2": "int16",
  "<u4": "uint32",
  "<i4": "int32",
  "<i8": "int64",
  "<f2": "float16",
  "<f4": "float32",
  "<f8": "float64",
};

/** An array whose elements are still in their file. */
export interface NpySource extends Omit<NpyArray, "data"> {
  readonly data: ByteSource;
}

/** Errors: `golden-invalid`. */
export function decodeNpy(bytes: Uint8Array, name: string): NpyArray {
  const { data, ...array } = openNpy(bytesInMemory(bytes), name);
  return { ...array, data: readAll(data) };
}

/** Reads the header alone. Errors: `golden-invalid`. */
export function openNpy(source: ByteSource, name: string): NpySource {
  const { byteLength } = source;
  const lead = source.read(0, Math.min(byteLength, leadBytes));
  if (byteLength < leadBytes || magic.some((byte, at) => lead[at] !== byte)) {
    throw invalid(name, "it is not an .npy file");
  }
  const view = new DataView(lead.buffer, lead.byteOffset, lead.byteLength);
  const long = lead[6]! >= 2;
  const headerBytes = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (long ? 12 : 10) + headerBytes;
  if (headerBytes > headerBytesMax || start > byteLength) throw invalid(name, "its header is cut");
  const header = new TextDecoder("latin1").decode(source.read(long ? 12 : 10, start));
  const { dtype, shape } = parseHeader(header, name);
  const dataBytes = elementCount(shape) * elementBytes[dtype];
  if (dataBytes !== byteLength - start) {
    throw invalid(
      name,
      `${shape.join("×")} ${dtype} takes ${dataBytes} bytes, the file has ${byteLength - start}`,
    );
  }
  return { dtype, shape, data: partOf(source, start, byteLength) };
}

function parseHeader(header: string, name: string): { dtype: Dtype; shape: number[] } {
  const descr = /'descr'\s*:\s*'([^']{1,8})'/.exec(header)?.[1] ?? "";
  const dtype = dtypes[descr];
  if (dtype === undefined)
    throw invalid(name, `element type ${descr || "unknown"} is not supported`);
  if (!/'fortran_order'\s*:\s*False/.test(header)) throw invalid(name, "it is not in C order");
  const text = /'shape'\s*:\s*\(([^)]*)\)/.exec(header)?.[1];
  if (text === undefined) throw invalid(name, "its shape is missing");
  const sizes = text.split(",").map((size) => size.trim());
  const shape = sizes.filter((size) => size !== "").map(Number);
  if (shape.length > rankMax || shape.some((size) => !Number.isSafeInteger(size) || size < 0)) {
    throw invalid(name, `shape (${text}) is not valid`);
  }
  return { dtype, shape };
}

/** A version 1 file; `data` holds little-endian elements in C order. */
export function encodeNpy(array: NpyArray): Uint8Array {
  const descr = Object.entries(dtypes).find(([, dtype]) => dtype === array.dtype)?.[0] ?? "|u1";
  const tuple = array.shape.length === 1 ? `${array.shape[0]},` : array.shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
  // The header ends in a line feed and pads the data to a multiple of 64 bytes (NEP 1).
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const file = new Uint8Array(10 + padded.length + array.data.byteLength);
  file.set([...magic, 1, 0, padded.length & 0xff, padded.length >> 8]);
  file.set(new TextEncoder().encode(padded), 10);
  file.set(array.data, 10 + padded.length);
  return file;
}

function invalid(name: string, reason: string): FleetError {
  return new FleetError("golden-invalid", `${name}: ${reason}`);
}
