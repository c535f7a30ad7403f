/**
 * The .npz format: a ZIP archive of .npy files, stored or deflated (APPNOTE.TXT 4.3). Only what NumPy
 * writes is read: no encryption, no ZIP64, no spanning. A library would be our only use of one, and
 * node:zlib already does the inflating.
 */
import { inflateRawSync } from "node:zlib";
import { FleetError } from "../errors.ts";

const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const commentBytesMax = 65_535;
const entriesMax = 256;

/** The named array's .npy bytes. Errors: `golden-invalid`, also when it would unpack beyond `bytesMax`. */
export function readNpzEntry(archive: Uint8Array, member: string, bytesMax: number): Uint8Array {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  try {
    const entry = findEntry(view, archive, `${member}.npy`);
    return unpack(view, archive, entry, bytesMax);
  } catch (cause) {
    if (cause instanceof FleetError) throw cause;
    throw new FleetError("golden-invalid", `${member}: the .npz archive is damaged`, { cause });
  }
}

interface Entry {
  readonly method: number;
  readonly packedBytes: number;
  readonly unpackedBytes: number;
  readonly offset: number;
}

function findEntry(view: DataView, archive: Uint8Array, name: string): Entry {
  const end = findEnd(view);
  const count = Math.min(view.getUint16(end + 10, true), entriesMax);
  let at = view.getUint32(end + 16, true);
  for (let index = 0; index < count; index++) {
    if (view.getUint32(at, true) !== entrySignature) break;
    const nameBytes = view.getUint16(at + 28, true);
    const found = new TextDecoder().decode(archive.subarray(at + 46, at + 46 + nameBytes));
    if (found === name) {
      return {
        method: view.getUint16(at + 10, true),
        packedBytes: view.getUint32(at + 20, true),
        unpackedBytes: view.getUint32(at + 24, true),
        offset: view.getUint32(at + 42, true),
      };
    }
    at += 46 + nameBytes + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  throw new FleetError("golden-invalid", `the .npz archive holds no array named ${name}`);
}

function findEnd(view: DataView): number {
  const lowest = Math.max(0, view.byteLength - endBytes - commentBytesMax);
  for (let at = view.byteLength - endBytes; at >= lowest; at--) {
    if (view.getUint32(at, true) === endSignature) return at;
  }
  throw new FleetError("golden-invalid", "it is not an .npz archive");
}

function unpack(view: DataView, archive: Uint8Array, entry: Entry, bytesMax: number): Uint8Array {
  const { offset, packedBytes, unpackedBytes, method } = entry;
  if (view.getUint32(offset, true) !== localSignature) throw new Error("no local header");
  const start = offset + 30 + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  if (unpackedBytes > bytesMax || start + packedBytes > archive.byteLength) {
    throw new FleetError(
      "golden-invalid",
      `an array of ${unpackedBytes} bytes is beyond the limit`,
    );
  }
  const packed = archive.subarray(start, start + packedBytes);
  if (method === 0) return packed;
  if (method !== 8) throw new Error(`compression method ${method}`);
  return new Uint8Array(inflateRawSync(packed, { maxOutputLength: unpackedBytes }));
}
