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

/** What the server knew: no birth of this run, the birth and its own order, or the outcome too. */
export type ServerPhase = "before" | "ordered" | "told";

export interface CutPoint {
  /** How many operations had returned when the power went. */
  readonly after: number;
  readonly cut: Cut;
  readonly server: ServerPhase;
}

const cuts: readonly Cut[] = ["dropped", "torn"];

export interface RecordedRun {
  readonly start: Tree;
  readonly operations: readonly DiskOperation[];
  /** When the server had ordered the update and when it had stored the outcome, by the wall clock. */
  readonly orderedAtMs: number;
  readonly toldAtMs: number;
}

/** `count` says how many cuts there were, equal disks and all. */
export function cutPoints(run: RecordedRun): { points: CutPoint[]; count: number } {
  const { start, operations } = run;
  const found = new Map<string, CutPoint>();
  const disk = createDisk(start);
  const hashes = new WeakMap<Uint8Array, string>();
  let count = 0;
  const look = (after: number, server: ServerPhase) => {
    for (const cut of cuts) {
      count++;
      const key = `${hashOf(disk.afterCut(cut), hashes)} ${server}`;
      if (!found.has(key)) found.set(key, { after, cut, server });
    }
  };
  let server: ServerPhase = "before";
  look(0, server);
  for (const [index, operation] of operations.entries()) {
    const now = phaseAt(run, operation.atMs);
    // The server learns between two operations: the same disk beside another server.
    if (now !== server) look(index, now);
    server = now;
    disk.apply(operation);
    look(index + 1, server);
  }
  if (server !== "told") look(operations.length, "told");
  return { points: [...found.values()], count };
}

function phaseAt({ orderedAtMs, toldAtMs }: RecordedRun, atMs: number): ServerPhase {
  return atMs > toldAtMs ? "told" : atMs > orderedAtMs ? "ordered" : "before";
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
