/** The bytes of a file, read where they are wanted. The file stays open as long as the process. */
import { fstatSync, openSync, readSync } from "node:fs";
import { FleetError } from "../errors.ts";
import type { ByteSource } from "../ports/byte-source.ts";

const nothing = new Uint8Array();

/** Throws a plain Node error for a path that cannot be opened; `file-unusable` for a file cut later. */
export function fileBytes(path: string): ByteSource {
  const file = openSync(path, "r");
  return {
    byteLength: fstatSync(file).size,
    read(from, to, scratch = nothing) {
      const length = to - from;
      const bytes = length <= scratch.length ? scratch.subarray(0, length) : new Uint8Array(length);
      let done = 0;
      while (done < bytes.byteLength) {
        const count = readSync(file, bytes, done, bytes.byteLength - done, from + done);
        if (count === 0) throw new FleetError("file-unusable", `${path} was cut while it was read`);
        done += count;
      }
      return bytes;
    },
  };
}
