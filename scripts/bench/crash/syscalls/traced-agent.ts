/** A real agent under strace, which writes down every call that may change a disk. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { tracedCalls } from "./trace.ts";

/** Longest string that strace prints whole; no call of the agent writes more. */
const stringBytesMax = 4 * 2 ** 20;
const entry = fileURLToPath(new URL("../../../../agent/main.ts", import.meta.url));

/** `stop` sends SIGTERM to the agent itself and resolves when the trace is whole. */
export function startTraced(options: { agentDir: string; traceFile: string; logPath: string }): {
  stop(): Promise<void>;
} {
  const log = openSync(options.logPath, "a");
  const how = ["-f", "-y", "-ttt", "-xx", "--seccomp-bpf", "-s", String(stringBytesMax)];
  const calls = ["-e", `trace=${tracedCalls.join(",")}`, "-o", options.traceFile];
  const program = [process.execPath, entry, "--data-dir", options.agentDir];
  const strace = spawn("strace", [...how, ...calls, ...program], {
    stdio: ["ignore", log, log],
    // Calls that go through a ring are not seen.
    env: { ...process.env, UV_USE_IO_URING: "0" },
  });
  closeSync(log);
  const gone = new Promise<void>((resolve) => strace.once("exit", () => resolve()));
  /** Asked for late: strace tries itself on a child of its own before it starts the program. */
  const end = (signal: NodeJS.Signals) => {
    if (strace.exitCode !== null) return;
    const children = readFileSync(`/proc/${strace.pid}/task/${strace.pid}/children`, "utf8");
    for (const pid of children.split(" ").filter(Boolean)) process.kill(Number(pid), signal);
  };
  const kill = () => end("SIGKILL");
  process.once("exit", kill);
  return {
    async stop() {
      end("SIGTERM");
      await gone;
      process.removeListener("exit", kill);
    },
  };
}
