/**
 * Starts, kills and restarts the real programs of a fleet on this machine: one controller and any
 * number of agents, each a process of its own that a test may SIGKILL.
 *
 * Invariants: every child dies with this process, of signals too where `exitOnSignals` was called; each writes its log to a file of its own; nothing
 * listens beyond loopback.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Milliseconds that a program gets to leave after SIGTERM before it is killed. */
const termGraceMs = 5_000;

export interface Program {
  readonly name: string;
  readonly logPath: string;
  readonly pid: number | undefined;
  /** True from start to exit. */
  running(): boolean;
  start(): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, then SIGKILL; resolves when the process is gone. */
  stop(): Promise<void>;
}

const ownRoot = fileURLToPath(new URL("../..", import.meta.url));

/** A TypeScript program of this package; `args` follow the entry file. */
export function program(options: {
  name: string;
  /** Folder of another release of this package; its own when not given. */
  root?: string | undefined;
  entry: string;
  args: readonly string[];
  logPath: string;
}): Program {
  const entry = join(options.root ?? ownRoot, options.entry);
  let child: ChildProcess | undefined;
  let gone: Promise<void> = Promise.resolve();

  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const killChild = () => child?.kill("SIGKILL");
  return {
    name: options.name,
    logPath: options.logPath,
    get pid() {
      return child?.pid;
    },
    running,
    start() {
      const log = openSync(options.logPath, "a");
      const started = spawn(process.execPath, [entry, ...options.args], {
        stdio: ["ignore", log, log],
      });
      closeSync(log);
      child = started;
      process.once("exit", killChild);
      gone = new Promise((resolve) => {
        started.once("exit", () => {
          process.removeListener("exit", killChild);
          resolve();
        });
      });
    },
    async kill() {
      killChild();
      await gone;
    },
    async stop() {
      child?.kill("SIGTERM");
      const timer = setTimeout(killChild, termGraceMs);
      await gone;
      clearTimeout(timer);
    },
  };
}

/**
 * Makes the signals that end a background job an ordinary exit: of a signal without a handler a process
 * dies without its `exit` event, and its children stay.
 */
export function exitOnSignals(): void {
  for (const signal of ["SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

/** A TCP port on loopback that nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no TCP port was given");
  return address.port;
}

/** Asks again every `everyMs` until `probe` answers something; a thrown probe counts as "not yet". */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  { timeoutMs, everyMs = 150 }: { timeoutMs: number; everyMs?: number },
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
}
