/**
 * Reads what strace wrote (`-f -y -ttt -xx`) into operations on one folder's disk.
 *
 * Invariants: operations come in the order in which their calls returned; a sync covers only what
 * returned before the sync began; a call that this reader does not know and that changes the folder is
 * an error, never ignored. Files that end in `-shm` are left out: SQLite builds them anew after a cut.
 */
import { join, relative } from "node:path";

interface Timed {
  /** Wall time at which the call returned, or began when it never was interrupted, in ms. */
  readonly atMs: number;
}
/** Paths are below the folder; "" is the folder itself. */
export type DiskOperation = Timed &
  (
    | { readonly kind: "create"; readonly path: string }
    | {
        readonly kind: "write";
        readonly path: string;
        readonly offsetBytes: number;
        readonly bytes: Uint8Array;
      }
    | { readonly kind: "truncate"; readonly path: string; readonly lengthBytes: number }
    | { readonly kind: "rename"; readonly from: string; readonly path: string }
    | { readonly kind: "remove"; readonly path: string }
    | { readonly kind: "make-folder"; readonly path: string }
    /** Makes the operations before number `covers` on this file or folder durable. */
    | { readonly kind: "sync"; readonly path: string; readonly covers: number }
  );

/** The calls that strace must record; the readers among them only tell which file was opened how. */
export const tracedCalls = [
  ...["open", "openat", "openat2", "creat"],
  ...["write", "pwrite64", "writev", "pwritev", "pwritev2"],
  ...["ftruncate", "truncate", "fallocate", "copy_file_range", "sendfile"],
  ...["rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"],
  ...["unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"],
  ...["fsync", "fdatasync", "sync", "syncfs", "sync_file_range"],
];

interface Call {
  readonly name: string;
  readonly args: readonly string[];
  readonly result: number;
  readonly atMs: number;
  /** How many operations had returned when the call began. */
  readonly covers: number;
}

/** Errors: an `Error` that shows the line for a call that changes the folder in an unknown way. */
export function readTrace(text: string, folder: string): DiskOperation[] {
  const operations: DiskOperation[] = [];
  const begun = new Map<string, { text: string; covers: number }>();
  for (const line of text.split("\n")) {
    const match = /^(\d+) +(\d+\.\d+) (.*)$/.exec(line);
    const [, thread = "", seconds = "", rest = ""] = match ?? [];
    const unfinished = /^(.*?)(?:, )? ?<unfinished \.\.\.>$/.exec(rest);
    if (unfinished !== null) {
      begun.set(thread, { text: unfinished[1] ?? "", covers: operations.length });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const start = resumed === null ? undefined : begun.get(thread);
    const whole = start === undefined ? rest : joined(start.text, resumed?.[1] ?? "");
    const covers = start?.covers ?? operations.length;
    const call = readCall(whole, { atMs: Number(seconds) * 1_000, covers });
    if (call === undefined || call.result < 0) continue;
    const found = operationsOf(call, folder, whole);
    operations.push(...found.filter(({ path }) => !path.endsWith("-shm")));
  }
  return operations;
}

function joined(head: string, tail: string): string {
  const separate = head.endsWith("(") || tail.startsWith(")") || tail.startsWith(",");
  return separate || tail.startsWith(" ") ? head + tail : `${head}, ${tail}`;
}

function readCall(text: string, when: { atMs: number; covers: number }): Call | undefined {
  const match = /^(\w+)\((.*)\) += (-?\d+)/.exec(text);
  if (match === null) return undefined;
  const [, name = "", args = "", result = ""] = match;
  return { name, args: args.split(", "), result: Number(result), ...when };
}

function operationsOf(call: Call, folder: string, line: string): DiskOperation[] {
  const { args, atMs, covers } = call;
  const within = (path: string | undefined) => below(folder, path);
  const unknown = (...paths: (string | undefined)[]): DiskOperation[] => {
    if (paths.every((path) => within(path) === undefined)) return [];
    throw new Error(`a call that the recorder does not know: ${line.slice(0, 200)}`);
  };
  const one = (
    path: string | undefined,
    make: (path: string) => DiskOperation[],
  ): DiskOperation[] => {
    const inside = within(path);
    return inside === undefined ? [] : make(inside);
  };
  switch (call.name) {
    case "openat":
      return one(atPath(args[0], args[1]), (path) => opened(path, args[2] ?? "", atMs));
    case "open":
      return one(text(args[0]), (path) => opened(path, args[1] ?? "", atMs));
    case "pwrite64":
      return one(open(args[0]), (path) => {
        const bytes = bytesOf(args[1], line).subarray(0, call.result);
        return [{ kind: "write", path, offsetBytes: Number(args[3]), bytes, atMs }];
      });
    case "ftruncate":
      return one(open(args[0]), (path) => [
        { kind: "truncate", path, lengthBytes: Number(args[1]), atMs },
      ]);
    case "fsync":
    case "fdatasync":
      return one(open(args[0]), (path) => [{ kind: "sync", path, covers, atMs }]);
    case "rename": {
      const from = within(text(args[0]));
      const path = within(text(args[1]));
      if (from === undefined || path === undefined) return unknown(text(args[0]), text(args[1]));
      return [{ kind: "rename", from, path, atMs }];
    }
    case "unlink":
    case "rmdir":
      return one(text(args[0]), (path) => [{ kind: "remove", path, atMs }]);
    case "unlinkat":
      return one(atPath(args[0], args[1]), (path) => [{ kind: "remove", path, atMs }]);
    case "mkdir":
      return one(text(args[0]), (path) => [{ kind: "make-folder", path, atMs }]);
    case "sync":
    case "syncfs":
      // The whole machine's, from somebody else: nothing may be taken for durable because of it.
      return [];
    default:
      return unknown(
        ...args.map(open),
        ...args.map(text),
        args[1]?.startsWith('"') ? atPath(args[0], args[1]) : undefined,
      );
  }
}

function opened(path: string, flags: string, atMs: number): DiskOperation[] {
  const has = (flag: string) => flags.split("|").includes(flag);
  if (has("O_APPEND") && !has("O_RDONLY")) throw new Error(`${path} was opened to append`);
  return [
    ...(has("O_CREAT") ? [{ kind: "create", path, atMs } as const] : []),
    ...(has("O_TRUNC") ? [{ kind: "truncate", path, lengthBytes: 0, atMs } as const] : []),
  ];
}

function below(folder: string, path: string | undefined): string | undefined {
  if (path === undefined || path.endsWith(" (deleted)")) return undefined;
  const inside = relative(folder, path);
  return inside === ".." || inside.startsWith("../") ? undefined : inside;
}

/** The path of an open file as `-y` shows it: `17<\x2f...>`. */
function open(argument: string | undefined): string | undefined {
  const match = /^(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>$/.exec(argument ?? "");
  return match === null ? undefined : unescaped(match[1] ?? "").toString();
}

/** A path in quotes, when it is whole. */
function text(argument: string | undefined): string | undefined {
  const match = /^"(\\x2f(?:\\x[0-9a-f]{2})*)"$/.exec(argument ?? "");
  return match === null ? undefined : unescaped(match[1] ?? "").toString();
}

function atPath(folder: string | undefined, path: string | undefined): string | undefined {
  const base = open(folder);
  const match = /^"((?:\\x[0-9a-f]{2})*)"$/.exec(path ?? "");
  if (match === null) return undefined;
  const name = unescaped(match[1] ?? "").toString();
  if (name.startsWith("/")) return name;
  return base === undefined ? undefined : join(base, name);
}

function bytesOf(argument: string | undefined, line: string): Uint8Array {
  const match = /^"((?:\\x[0-9a-f]{2})*)"$/.exec(argument ?? "");
  if (match === null) throw new Error(`written bytes are not whole: ${line.slice(0, 200)}`);
  return new Uint8Array(unescaped(match[1] ?? ""));
}

function unescaped(hex: string): Buffer {
  return Buffer.from(hex.replaceAll("\\x", ""), "hex");
}
