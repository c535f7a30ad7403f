/** The files port over a simulated disk. Every call is an effect; those that only read may fail too. */
import { dirname } from "node:path";
import { FleetError } from "../../../shared/errors.ts";
import type { Files, OpenFile } from "../../../shared/ports/files.ts";
import {
  createFile,
  cutTo,
  type Disk,
  diskError,
  fileAt,
  folderAt,
  lookUp,
  makeFolders,
  removeAt,
  removeHalf,
  renameTo,
  type SimFile,
  syncFile,
  syncNames,
  takeRoom,
  usedBytes,
  writeAt,
} from "./disk.ts";
import type { Power } from "./effects.ts";

export function simFiles(disk: Disk, power: Power): Files {
  const read = <T>(name: string, perform: () => T): Promise<T> =>
    power.act({ kind: "file", name, reads: true, perform });
  const write = (name: string, perform: () => void, inside?: () => void): Promise<void> =>
    power.act({ kind: "file", name, perform, ...(inside && { inside }) });
  return {
    read: (path, { maxBytes }) =>
      read(`read ${path}`, () => {
        const { content } = fileAt(disk, path);
        if (content.byteLength > maxBytes) {
          throw new FleetError("too-large", `${path} has ${content.byteLength} bytes`);
        }
        return new Uint8Array(content);
      }),
    readRange: (path, { offset, length }) =>
      read(`read ${path}`, () => fileAt(disk, path).content.slice(offset, offset + length)),
    async open(path, mode) {
      let file: SimFile | undefined;
      await write(`open ${path}`, () => {
        const found = lookUp(disk, path);
        file = found?.kind === "file" ? found : createFile(disk, path);
        if (mode === "create") cutTo(file, 0);
      });
      if (file === undefined) throw diskError("ENOENT", path);
      return openFile(disk, power, path, file);
    },
    rename: (from, to) => write(`rename ${to}`, () => renameTo(disk, from, to)),
    syncDirectory: (path) => write(`fsync ${path}`, () => syncNames(folderAt(disk, path))),
    makeDirectory: (path) => write(`mkdir ${path}`, () => makeFolders(disk, path)),
    list: (path) =>
      read(`list ${path}`, () => {
        const found = lookUp(disk, path);
        return found?.kind === "folder" ? [...found.names.keys()].sort() : [];
      }),
    stat: (path) =>
      read(`stat ${path}`, () => {
        const found = lookUp(disk, path);
        if (found === undefined) return undefined;
        return found.kind === "file"
          ? { bytes: found.content.byteLength, isDirectory: false }
          : { bytes: 0, isDirectory: true };
      }),
    remove: (path) =>
      write(
        `remove ${path}`,
        () => removeAt(disk, path),
        () => removeHalf(disk, path),
      ),
    space: (path) =>
      read(`space ${dirname(path)}`, () => ({
        freeBytes: disk.totalBytes - usedBytes(disk),
        totalBytes: disk.totalBytes,
      })),
  };
}

function openFile(disk: Disk, power: Power, path: string, file: SimFile): OpenFile {
  const write = (name: string, perform: () => void, inside?: () => void) =>
    power.act({ kind: "file", name: `${name} ${path}`, perform, ...(inside && { inside }) });
  return {
    write: (bytes, positionBytes) => {
      // The caller may use its buffer again before the bytes are written.
      const copy = new Uint8Array(bytes);
      return write(
        "write",
        () => {
          if (!takeRoom(disk, copy.byteLength)) throw diskError("ENOSPC", path);
          writeAt(file, copy, positionBytes);
        },
        () => writeAt(file, copy, positionBytes),
      );
    },
    truncate: (bytes) => write("truncate", () => cutTo(file, bytes)),
    sync: () => write("fsync", () => syncFile(file)),
    close: () => power.act({ kind: "file", name: `close ${path}`, reads: true, perform: () => {} }),
  };
}
