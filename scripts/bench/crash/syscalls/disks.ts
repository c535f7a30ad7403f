/**
 * All disks that a power cut could leave behind, from the operations of one recorded run: after each
 * operation one with all unsynced writes dropped and one with the last of them torn. Equal disks are
 * named once.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Cut, createDisk, type Tree } from "./disk.ts";
import type { DiskOperation } from "./trace.ts";

export interface CutPoint {
  /** How many operations had returned when the power went. */
  readonly after: number;
  readonly cut: Cut;
  /** True when the server could have heard the outcome by then. */
  readonly told: boolean;
}

const cuts: readonly Cut[] = ["dropped", "torn"];

export interface RecordedRun {
  readonly start: Tree;
  readonly operations: readonly DiskOperation[];
  /** When the server had stored the outcome, by the wall clock. */
  readonly toldAtMs: number;
}

/** `count` says how many cuts there were, equal disks and all. */
export function cutPoints({ start, operations, toldAtMs }: RecordedRun): {
  points: CutPoint[];
  count: number;
} {
  const found = new Map<string, CutPoint>();
  const disk = createDisk(start);
  const hashes = new WeakMap<Uint8Array, string>();
  let count = 0;
  let told = false;
  const look = (after: number) => {
    for (const cut of cuts) {
      count++;
      const key = `${hashOf(disk.afterCut(cut), hashes)} ${told}`;
      if (!found.has(key)) found.set(key, { after, cut, told });
    }
  };
  look(0);
  for (const [index, operation] of operations.entries()) {
    if (!told && operation.atMs > toldAtMs) {
      told = true;
      look(index);
    }
    disk.apply(operation);
    look(index + 1);
  }
  if (!told) {
    told = true;
    look(operations.length);
  }
  return { points: [...found.values()], count };
}

/** The disk of each point, in order; points come as `cutPoints` named them. */
export function* disksAt(
  { start, operations }: RecordedRun,
  points: readonly CutPoint[],
): Generator<{ point: CutPoint; tree: Tree }> {
  const disk = createDisk(start);
  let applied = 0;
  for (const point of points) {
    for (; applied < point.after; applied++) disk.apply(operations[applied]!);
    yield { point, tree: disk.afterCut(point.cut) };
  }
}

/** SHA-256 of names and contents; `known` keeps those of contents between calls. */
export function hashOf(tree: Tree, known = new WeakMap<Uint8Array, string>()): string {
  const hash = createHash("sha256");
  for (const path of [...tree.keys()].sort()) {
    const bytes = tree.get(path) ?? null;
    let content = bytes === null ? "folder" : known.get(bytes);
    if (content === undefined && bytes !== null) {
      content = createHash("sha256").update(bytes).digest("hex");
      known.set(bytes, content);
    }
    hash.update(`${path}\0${content}\0`);
  }
  return hash.digest("hex");
}

/** The folder as a tree; shared memory of SQLite is left out. */
export function readTree(folder: string): Tree {
  const tree = new Map<string, Uint8Array | null>();
  const walk = (path: string): void => {
    const entries = readdirSync(join(folder, path), { withFileTypes: true });
    if (entries.length === 0 && path !== "") tree.set(path, null);
    for (const entry of entries) {
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) walk(below);
      else if (!below.endsWith("-shm"))
        tree.set(below, new Uint8Array(readFileSync(join(folder, below))));
    }
  };
  walk("");
  return tree;
}

/** Writes the tree into a folder that is not there yet. */
export function writeTree(folder: string, tree: Tree): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [path, bytes] of tree) {
    const target = join(folder, path);
    mkdirSync(bytes === null ? target : dirname(target), { recursive: true });
    if (bytes !== null) writeFileSync(target, bytes, { mode: 0o600 });
  }
}
