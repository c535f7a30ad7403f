/**
 * Bytes that are read piece by piece, at once: samples of a golden set stay in their file until they
 * are wanted, in code that cannot wait between two of them.
 */

export interface ByteSource {
  readonly byteLength: number;
  /**
   * The bytes from `from` up to, not including, `to`; within the length. What must be copied is put into
   * `scratch` when it is given and long enough; the answer then lasts until it is used again.
   */
  read(from: number, to: number, scratch?: Uint8Array): Uint8Array;
}

/** Bytes that are in memory already. */
export function bytesInMemory(bytes: Uint8Array): ByteSource {
  return { byteLength: bytes.byteLength, read: (from, to) => bytes.subarray(from, to) };
}

/** A part of a source as one of its own. */
export function partOf(source: ByteSource, start: number, end: number): ByteSource {
  return {
    byteLength: end - start,
    read: (from, to, scratch) => source.read(start + from, start + to, scratch),
  };
}

/** All of it; for what is small or wanted whole. */
export function readAll(source: ByteSource): Uint8Array {
  return source.read(0, source.byteLength);
}
