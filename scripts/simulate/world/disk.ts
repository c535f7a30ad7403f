/**
 * A disk that loses what was not fsynced. Content is durable after `sync` of the file, names after
 * `syncDirectory` of their folder, and neither makes the other durable (POSIX promises no more).
 *
 * Invariant: `afterCut` changes nothing of the disk it is asked of; it answers the one that is found
 * when the power is back.
 */
import { basename, dirname } from "node:path";
import type { CutMode } from "./effects.ts";

const sectorBytes = 512;

export interface SimFile {
  readonly kind: "file";
  content: Uint8Array;
  synced: Uint8Array;
  /** Where the last write that was not fsynced went. */
  lastWrite: { readonly from: number; readonly to: number } | undefined;
}

export interface SimFolder {
  readonly kind: "folder";
  names: Map<string, SimFile | SimFolder>;
  syncedNames: Map<string, SimFile | SimFolder>;
}

export interface Disk {
  readonly root: SimFolder;
  readonly totalBytes: number;
  /** Free at least: as counted last, less what was written since. */
  sureBytes: number;
}

const emptyFolder = (): SimFolder => ({
  kind: "folder",
  names: new Map(),
  syncedNames: new Map(),
});

export function emptyDisk(totalBytes = 1_000_000_000): Disk {
  return { root: emptyFolder(), totalBytes, sureBytes: 0 };
}

export function diskError(code: "ENOENT" | "ENOSPC" | "EIO" | "ENOTDIR", path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}

export function lookUp(disk: Disk, path: string): SimFile | SimFolder | undefined {
  let at: SimFile | SimFolder | undefined = disk.root;
  for (const part of partsOf(path)) {
    if (at?.kind !== "folder") return undefined;
    at = at.names.get(part);
  }
  return at;
}

/** Errors: `ENOENT`. */
export function folderAt(disk: Disk, path: string): SimFolder {
  const found = lookUp(disk, path);
  if (found?.kind !== "folder") throw diskError("ENOENT", path);
  return found;
}

/** Errors: `ENOENT`. */
export function fileAt(disk: Disk, path: string): SimFile {
  const found = lookUp(disk, path);
  if (found?.kind !== "file") throw diskError("ENOENT", path);
  return found;
}

export function makeFolders(disk: Disk, path: string): void {
  let at = disk.root;
  for (const part of partsOf(path)) {
    const next = at.names.get(part) ?? emptyFolder();
    if (next.kind !== "folder") throw diskError("ENOTDIR", path);
    at.names.set(part, next);
    at = next;
  }
}

export function createFile(disk: Disk, path: string): SimFile {
  const folder = folderAt(disk, dirname(path));
  const file: SimFile = {
    kind: "file",
    content: new Uint8Array(),
    synced: new Uint8Array(),
    lastWrite: undefined,
  };
  folder.names.set(basename(path), file);
  return file;
}

/** A whole file that is there, and whose folders are, whatever is cut later. */
export function putFile(disk: Disk, path: string, text: string): void {
  makeFolders(disk, dirname(path));
  const file = createFile(disk, path);
  writeAt(file, new TextEncoder().encode(text), 0);
  syncFile(file);
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    syncNames(folderAt(disk, folder));
  }
  syncNames(disk.root);
}

export function writeAt(file: SimFile, bytes: Uint8Array, position: number): void {
  const end = position + bytes.byteLength;
  const content = new Uint8Array(Math.max(file.content.byteLength, end));
  content.set(file.content);
  content.set(bytes, position);
  file.content = content;
  file.lastWrite = { from: position, to: end };
}

export function cutTo(file: SimFile, bytes: number): void {
  const content = new Uint8Array(bytes);
  content.set(file.content.subarray(0, bytes));
  file.content = content;
  file.lastWrite ??= { from: bytes, to: bytes };
}

export function syncFile(file: SimFile): void {
  file.synced = file.content;
  file.lastWrite = undefined;
}

export function syncNames(folder: SimFolder): void {
  folder.syncedNames = new Map(folder.names);
}

export function renameTo(disk: Disk, from: string, to: string): void {
  const source = folderAt(disk, dirname(from));
  const moved = source.names.get(basename(from));
  if (moved === undefined) throw diskError("ENOENT", from);
  const target = folderAt(disk, dirname(to));
  source.names.delete(basename(from));
  target.names.set(basename(to), moved);
}

export function removeAt(disk: Disk, path: string): void {
  const parent = lookUp(disk, dirname(path));
  if (parent?.kind === "folder") parent.names.delete(basename(path));
}

/** As a removal of a whole folder that was cut off: every second name is gone. */
export function removeHalf(disk: Disk, path: string): void {
  const found = lookUp(disk, path);
  if (found?.kind !== "folder") return;
  for (const [index, name] of [...found.names.keys()].entries()) {
    if (index % 2 === 0) found.names.delete(name);
  }
}

export function usedBytes(disk: Disk): number {
  const sizeOf = (node: SimFile | SimFolder): number =>
    node.kind === "file"
      ? node.content.byteLength
      : [...node.names.values()].reduce((sum, child) => sum + sizeOf(child), 0);
  return sizeOf(disk.root);
}

/** Takes room for a write; false when there is none. Counts the whole disk only when it may be full. */
export function takeRoom(disk: Disk, bytes: number): boolean {
  if (bytes > disk.sureBytes) disk.sureBytes = disk.totalBytes - usedBytes(disk);
  if (bytes > disk.sureBytes) return false;
  disk.sureBytes -= bytes;
  return true;
}

/** The disk that a machine finds when it comes back. Everything on it is durable. */
export function afterCut(disk: Disk, mode: CutMode): Disk {
  const keepNames = mode !== "dropped";
  const known = new Map<SimFile | SimFolder, SimFile | SimFolder>();
  const copy = (node: SimFile | SimFolder): SimFile | SimFolder => {
    const before = known.get(node);
    if (before !== undefined) return before;
    if (node.kind === "file") {
      const content = contentAfter(node, mode);
      const file: SimFile = { kind: "file", content, synced: content, lastWrite: undefined };
      known.set(node, file);
      return file;
    }
    const names = new Map<string, SimFile | SimFolder>();
    for (const [name, child] of keepNames ? node.names : node.syncedNames) {
      names.set(name, copy(child));
    }
    const folder: SimFolder = { kind: "folder", names, syncedNames: new Map(names) };
    known.set(node, folder);
    return folder;
  };
  return { root: copy(disk.root) as SimFolder, totalBytes: disk.totalBytes, sureBytes: 0 };
}

function contentAfter(file: SimFile, mode: CutMode): Uint8Array {
  if (mode === "kept" || file.lastWrite === undefined) return file.content;
  if (mode !== "torn") return file.synced;
  const { from, to } = file.lastWrite;
  // Half of the last write reached the disk, in whole sectors; the file's length is the new one.
  const sectors = Math.floor((to - from) / sectorBytes / 2);
  const torn = new Uint8Array(file.content);
  for (let at = from + sectors * sectorBytes; at < to; at++) torn[at] = file.synced[at] ?? 0;
  return torn;
}
