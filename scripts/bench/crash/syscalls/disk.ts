/**
 * A disk that forgets what was not synced. Content is durable only after a sync of its file, a name
 * only after a sync of the folder that holds it; that is less than any common file system promises, so
 * a program that survives here survives there.
 *
 * Contents are never changed in place: two trees may share them.
 */
import { dirname } from "node:path";
import type { DiskOperation } from "./trace.ts";

/** Files by path; folders that hold nothing by path with `null`. */
export type Tree = ReadonlyMap<string, Uint8Array | null>;

/** What the cut takes: all that was not synced, or half of the very last write at 512 bytes. */
export type Cut = "dropped" | "torn";

/** A disk writes these bytes whole or not at all. */
const sectorBytes = 512;

interface Pending<Change> {
  readonly number: number;
  readonly change: Change;
}
interface FileNode {
  readonly folder: false;
  durable: Uint8Array;
  live: Uint8Array;
  pending: Pending<(bytes: Uint8Array) => Uint8Array>[];
}
interface FolderNode {
  readonly folder: true;
  readonly durable: Map<string, Node>;
  readonly live: Map<string, Node>;
  pending: Pending<(names: Map<string, Node>) => void>[];
}
type Node = FileNode | FolderNode;

export interface Disk {
  apply(operation: DiskOperation): void;
  afterCut(cut: Cut): Tree;
  /** What a program that goes on would see. */
  live(): Tree;
}

/** A disk on which all of `start` is durable. */
export function createDisk(start: Tree): Disk {
  const root = newFolder();
  for (const [path, bytes] of start) plant(root, path, bytes);
  let applied = 0;
  let last: { node: FileNode; write: Extract<DiskOperation, { kind: "write" }> } | undefined;
  return {
    apply(operation) {
      last = undefined;
      applyTo(root, operation, applied++);
      if (operation.kind !== "write") return;
      const node = find(root, operation.path);
      if (node?.folder === false) last = { node, write: operation };
    },
    live: () => treeOf(root, "live"),
    afterCut(cut) {
      if (cut === "dropped") return treeOf(root, "durable");
      const torn = last;
      if (torn === undefined) return treeOf(root, "live");
      const before = torn.node.pending.slice(0, -1);
      const earlier = before.reduce((bytes, { change }) => change(bytes), torn.node.durable);
      return treeOf(root, "live", new Map([[torn.node, written(earlier, tornWrite(torn.write))]]));
    },
  };
}

function applyTo(root: FolderNode, operation: DiskOperation, number: number): void {
  const node = find(root, operation.path);
  switch (operation.kind) {
    case "create":
      if (node === undefined) setName(root, operation.path, newFile(new Uint8Array(0)), number);
      return;
    case "make-folder":
      setName(root, operation.path, newFolder(), number);
      return;
    case "remove":
      setName(root, operation.path, undefined, number);
      return;
    case "rename": {
      const moved = find(root, operation.from);
      if (moved === undefined) throw new Error(`${operation.from} is renamed and not there`);
      setName(root, operation.path, moved, number);
      setName(root, operation.from, undefined, number);
      return;
    }
    case "sync":
      if (node !== undefined) sync(node, operation.covers);
      return;
    case "write":
      changeFile(node, operation, number, (bytes) => written(bytes, operation));
      return;
    case "truncate":
      changeFile(node, operation, number, (bytes) => resized(bytes, operation.lengthBytes));
  }
}

function changeFile(
  node: Node | undefined,
  operation: DiskOperation,
  number: number,
  change: (bytes: Uint8Array) => Uint8Array,
): void {
  if (node === undefined || node.folder) throw new Error(`${operation.path} is no file`);
  node.pending.push({ number, change });
  node.live = change(node.live);
}

function sync(node: Node, covers: number): void {
  if (node.folder) {
    node.pending = settle(node.pending, covers, (change) => change(node.durable));
    return;
  }
  node.pending = settle(node.pending, covers, (change) => {
    node.durable = change(node.durable);
  });
  // The same bytes as one object, so that trees share them.
  if (node.pending.length === 0) node.durable = node.live;
}

/** Makes the changes that a sync covers durable; answers those that it does not. */
function settle<Change>(
  pending: readonly Pending<Change>[],
  covers: number,
  make: (change: Change) => void,
): Pending<Change>[] {
  for (const { number, change } of pending) if (number < covers) make(change);
  return pending.filter(({ number }) => number >= covers);
}

function setName(root: FolderNode, path: string, node: Node | undefined, number: number): void {
  const parent = find(root, parentOf(path));
  if (parent === undefined || !parent.folder) throw new Error(`${path} is in no folder`);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const change = (names: Map<string, Node>) => {
    if (node === undefined) names.delete(name);
    else names.set(name, node);
  };
  parent.pending.push({ number, change });
  change(parent.live);
}

function find(root: FolderNode, path: string): Node | undefined {
  let node: Node | undefined = root;
  for (const name of path.split("/")) {
    if (name === "") continue;
    node = node?.folder === true ? node.live.get(name) : undefined;
  }
  return node;
}

function plant(root: FolderNode, path: string, bytes: Uint8Array | null): void {
  let folder = root;
  const names = path.split("/");
  for (const [depth, name] of names.entries()) {
    const isFile = depth === names.length - 1 && bytes !== null;
    const node: Node = folder.live.get(name) ?? (isFile ? newFile(bytes) : newFolder());
    folder.live.set(name, node);
    folder.durable.set(name, node);
    if (node.folder) folder = node;
  }
}

function treeOf(
  root: FolderNode,
  which: "live" | "durable",
  instead: ReadonlyMap<FileNode, Uint8Array> = new Map(),
): Tree {
  const tree = new Map<string, Uint8Array | null>();
  const walk = (folder: FolderNode, prefix: string): void => {
    if (folder[which].size === 0 && prefix !== "") tree.set(prefix.slice(0, -1), null);
    for (const [name, node] of folder[which]) {
      if (node.folder) walk(node, `${prefix}${name}/`);
      else tree.set(prefix + name, instead.get(node) ?? node[which]);
    }
  };
  walk(root, "");
  return tree;
}

function written(bytes: Uint8Array, write: { offsetBytes: number; bytes: Uint8Array }): Uint8Array {
  const end = write.offsetBytes + write.bytes.byteLength;
  const next = new Uint8Array(Math.max(bytes.byteLength, end));
  next.set(bytes);
  next.set(write.bytes, write.offsetBytes);
  return next;
}

function resized(bytes: Uint8Array, lengthBytes: number): Uint8Array {
  const next = new Uint8Array(lengthBytes);
  next.set(bytes.subarray(0, lengthBytes));
  return next;
}

/** The sectors of a write that came to the disk before its middle. */
function tornWrite(write: { offsetBytes: number; bytes: Uint8Array }) {
  const { offsetBytes, bytes } = write;
  const middle = offsetBytes + bytes.byteLength / 2;
  const end = Math.floor(middle / sectorBytes) * sectorBytes;
  const kept = Math.max(0, end - offsetBytes);
  return { offsetBytes: kept === 0 ? 0 : offsetBytes, bytes: bytes.subarray(0, kept) };
}

const parentOf = (path: string): string => {
  const folder = dirname(path);
  return folder === "." ? "" : folder;
};
const newFile = (bytes: Uint8Array): FileNode => ({
  folder: false,
  durable: bytes,
  live: bytes,
  pending: [],
});
const newFolder = (): FolderNode => ({
  folder: true,
  durable: new Map(),
  live: new Map(),
  pending: [],
});
