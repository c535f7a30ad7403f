/** The recorder of system calls: lines of strace, and what a cut leaves of the operations in them. */
import { describe, expect, it } from "vitest";
import { createDisk, type Tree } from "../../../scripts/bench/crash/syscalls/disk.ts";
import { cutPoints, hashOf } from "../../../scripts/bench/crash/syscalls/disks.ts";
import { flashBytesOf } from "../../../scripts/bench/crash/syscalls/flash-bytes.ts";
import { type DiskOperation, readTrace } from "../../../scripts/bench/crash/syscalls/trace.ts";

const hex = (text: string) =>
  [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
const open = (path: string) => `7<${hex(path)}>`;
const quoted = (text: string) => `"${hex(text)}"`;
const lines = (...calls: string[]) => calls.map((call, at) => `10 ${at + 1}.5 ${call}`).join("\n");

describe("a trace", () => {
  it("becomes operations on the folder and leaves out the rest of the machine", () => {
    const text = lines(
      `openat(AT_FDCWD<${hex("/")}>, ${quoted("/d/a b")}, O_RDWR|O_CREAT|O_TRUNC, 0600) = ${open("/d/a b")}`,
      `pwrite64(${open("/d/a b")}, ${quoted("x, (y")}, 6, 512) = 5`,
      `pwrite64(${open("/etc/x")}, ${quoted("no")}, 2, 0) = 2`,
      `pwrite64(${open("/d/agent.db-shm")}, ${quoted("no")}, 2, 0) = 2`,
      `rename(${quoted("/d/a b")}, ${quoted("/d/sub/c")}) = 0`,
      `mkdir(${quoted("/d/sub")}, 0777) = -1 EEXIST (File exists)`,
      `fsync(${open("/d")}) = 0`,
    );
    expect(readTrace(text, "/d")).toEqual([
      { kind: "create", path: "a b", atMs: 1500 },
      { kind: "truncate", path: "a b", lengthBytes: 0, atMs: 1500 },
      {
        kind: "write",
        path: "a b",
        offsetBytes: 512,
        bytes: new TextEncoder().encode("x, (y"),
        atMs: 2500,
      },
      { kind: "rename", from: "a b", path: "sub/c", atMs: 5500 },
      { kind: "sync", path: "", covers: 4, atMs: 7500 },
    ]);
  });

  it("does not let a sync cover what returned after the sync began", () => {
    const text = [
      `10 1.0 fsync(${open("/d/a")} <unfinished ...>`,
      `11 2.0 pwrite64(${open("/d/a")}, ${quoted("x")}, 1, 0) = 1`,
      "10 3.0 <... fsync resumed>) = 0",
    ].join("\n");
    expect(readTrace(text, "/d").map(({ kind }) => kind)).toEqual(["write", "sync"]);
    expect(readTrace(text, "/d")[1]).toMatchObject({ covers: 0 });
  });

  it("refuses calls on the folder that it does not know, and strings that were cut short", () => {
    const write = lines(`write(${open("/d/a")}, ${quoted("x")}, 1) = 1`);
    expect(() => readTrace(write, "/d")).toThrow("does not know");
    const link = lines(`link(${quoted("/d/a")}, ${quoted("/x")}) = 0`);
    expect(() => readTrace(link, "/d")).toThrow("does not know");
    const cut = lines(`pwrite64(${open("/d/a")}, ${quoted("x")}..., 100, 0) = 100`);
    expect(() => readTrace(cut, "/d")).toThrow("not whole");
    expect(readTrace(lines(`write(${open("/x")}, ${quoted("x")}, 1) = 1`), "/d")).toEqual([]);
  });
});

const atMs = 0;
const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);
const write = (path: string, offsetBytes: number, content: Uint8Array): DiskOperation => ({
  kind: "write",
  path,
  offsetBytes,
  bytes: content,
  atMs,
});
const sync = (path: string, covers = Number.POSITIVE_INFINITY): DiskOperation => ({
  kind: "sync",
  path,
  covers,
  atMs,
});
const diskWith = (start: Tree, operations: readonly DiskOperation[]) => {
  const disk = createDisk(start);
  for (const operation of operations) disk.apply(operation);
  return disk;
};
const start: Tree = new Map([["old", bytes(4, 1)]]);

describe("a disk after a cut", () => {
  it("has lost content that was not synced and names whose folder was not", () => {
    const made: DiskOperation[] = [
      { kind: "create", path: "new", atMs },
      write("new", 0, bytes(2, 9)),
    ];
    expect(diskWith(start, made).afterCut("dropped")).toEqual(start);
    expect(diskWith(start, [...made, sync("new")]).afterCut("dropped")).toEqual(start);
    expect(
      diskWith(start, [...made, sync("")])
        .afterCut("dropped")
        .get("new"),
    ).toEqual(bytes(0, 0));
    const whole = diskWith(start, [...made, sync("new"), sync("")]);
    expect(whole.afterCut("dropped").get("new")).toEqual(bytes(2, 9));
    expect(whole.afterCut("dropped")).toEqual(whole.live());
  });

  it("knows a rename only where the folder was synced after it", () => {
    const renamed: DiskOperation[] = [{ kind: "rename", from: "old", path: "new", atMs }];
    expect([...diskWith(start, renamed).afterCut("dropped").keys()]).toEqual(["old"]);
    expect([
      ...diskWith(start, [...renamed, sync("", 0)])
        .afterCut("dropped")
        .keys(),
    ]).toEqual(["old"]);
    expect([
      ...diskWith(start, [...renamed, sync("")])
        .afterCut("dropped")
        .keys(),
    ]).toEqual(["new"]);
  });

  it("tears the last write at a sector and keeps those before it", () => {
    const torn = diskWith(start, [write("old", 0, bytes(4, 2)), write("old", 4, bytes(3000, 3))]);
    const content = torn.afterCut("torn").get("old")!;
    expect(content.length).toBe(1024);
    expect([...content.subarray(0, 5)]).toEqual([2, 2, 2, 2, 3]);
    expect(diskWith(start, [write("old", 0, bytes(40, 2))]).afterCut("torn")).toEqual(start);
  });
});

it("names each disk once, and again when the server has learned", () => {
  const operations = [write("old", 0, bytes(4, 2)), sync("old"), sync("")].map(
    (operation, index) => ({ ...operation, atMs: index }),
  );
  const { points, count } = cutPoints({ start, operations, orderedAtMs: 0, toldAtMs: 1 });
  expect(count).toBe(12);
  expect(points).toEqual([
    { after: 0, cut: "dropped", server: "before" },
    { after: 1, cut: "dropped", server: "ordered" },
    { after: 2, cut: "dropped", server: "ordered" },
    { after: 2, cut: "dropped", server: "told" },
  ]);
  expect(hashOf(start)).not.toBe(hashOf(new Map([["new", bytes(4, 1)]])));
});

it("counts a page once per sync and what was given to the calls in full", () => {
  const operations = [
    write("old", 0, bytes(10, 1)),
    write("old", 20, bytes(10, 1)),
    sync("old"),
    write("old", 4_090, bytes(10, 1)),
    sync("other"),
    { kind: "rename", from: "old", path: "new", atMs } as const,
    sync("new"),
    write("other", 0, bytes(1, 1)),
  ];
  expect(flashBytesOf(operations)).toEqual({ rawBytes: 31, pageBytes: 4 * 4_096, syncs: 3 });
});
