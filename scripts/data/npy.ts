/**
 * Writes NumPy `.npy` files, version 1.0: the form in which golden sets hold their tensors.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { assert } from "../../shared/assert.ts";

/** Header plus data start on a multiple of this many bytes, so that files can be mapped. */
const alignmentBytes = 64;
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];

/** The bytes of a C-ordered uint8 array of the given shape. */
export function encodeNpyUint8(values: Uint8Array, shape: readonly number[]): Uint8Array {
  assert(
    values.length === shape.reduce((product, size) => product * size, 1),
    `${values.length} values do not fill [${shape}]`,
  );
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const dictionary = `{'descr': '|u1', 'fortran_order': False, 'shape': ${tuple}, }`;
  const unpadded = magic.length + 2 + dictionary.length + 1;
  const headerBytes = Math.ceil(unpadded / alignmentBytes) * alignmentBytes;
  const header = `${dictionary.padEnd(headerBytes - magic.length - 3)}\n`;
  const bytes = new Uint8Array(headerBytes + values.length);
  bytes.set(magic);
  new DataView(bytes.buffer).setUint16(magic.length, header.length, true);
  bytes.set(new TextEncoder().encode(header), magic.length + 2);
  bytes.set(values, headerBytes);
  return bytes;
}
