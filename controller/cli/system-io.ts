/** The real terminal. Child programs get our streams, and our signals are passed on to them. */
import { spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { CliIo } from "./io.ts";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function systemIo(): CliIo {
  return {
    out: (text) => process.stdout.write(`${text}\n`),
    err: (text) => process.stderr.write(`${text}\n`),
    interactive: process.stderr.isTTY === true,
    env: process.env,
    run: runProgram,
    sleep: (delayMs) => delay(delayMs),
  };
}

function runProgram(entry: string, args: readonly string[]): Promise<number> {
  const path = fileURLToPath(new URL(`../../${entry}`, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { stdio: "inherit" });
  const handlers = forwarded.map((signal) => {
    const forward = () => child.kill(signal);
    process.on(signal, forward);
    return () => process.removeListener(signal, forward);
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      for (const remove of handlers) remove();
      // 128 + signal number is what shells report; SIGKILL is 9, SIGTERM 15.
      resolve(code ?? (signal === "SIGKILL" ? 137 : 143));
    });
  });
}
