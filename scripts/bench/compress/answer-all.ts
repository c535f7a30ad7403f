/**
 * What many files answer on the same samples, as fast as the machine allows: as many processes as it has
 * processors, each with one thread. Nothing is timed here.
 */
import { type ChildProcess, fork } from "node:child_process";
import os from "node:os";
import { fileURLToPath } from "node:url";
import type { AnswerOrder, FileAnswer } from "./answer-main.ts";
import type { Answer, Samples, Subject } from "./subject.ts";

const entry = fileURLToPath(new URL("./answer-main.ts", import.meta.url));
/** The runtime reports refused files on standard error too, which the refusals tell. */
const stdio = ["ignore", "inherit", "ignore", "ipc"] as const;

/**
 * Calls `take` with the answers to each file or why there are none, by its place, as they come; answers are not
 * held, since those of text recognisers are large.
 */
export async function answerAll(
  files: readonly Uint8Array[],
  subject: Pick<Subject, "input">,
  samples: Samples,
  take: (at: number, answer: FileAnswer) => void,
): Promise<void> {
  let next = 0;
  const started = () => {
    const child = fork(entry, { serialization: "advanced", stdio: [...stdio] });
    tell(child, { kind: "samples", input: subject.input, samples });
    return child;
  };
  const work = async () => {
    let child = started();
    try {
      while (next < files.length) {
        const at = next++;
        if (!child.connected) child = started();
        take(at, await ask(child, files[at]!));
      }
    } finally {
      child.kill();
    }
  };
  const processes = Math.min(files.length, os.availableParallelism());
  await Promise.all(Array.from({ length: processes }, work));
}

function tell(child: ChildProcess, order: AnswerOrder): void {
  child.send(order);
}

/** A file that takes the process with it is refused like one that cannot be loaded. */
function ask(child: ChildProcess, bytes: Uint8Array): Promise<FileAnswer> {
  return new Promise((resolve) => {
    const died = (code: number | null, signal: string | null) =>
      resolve({ reason: `the process ended with ${code ?? signal}` });
    child.once("exit", died);
    child.once("message", (answer) => {
      child.off("exit", died);
      resolve(answer as { answers: Answer[] });
    });
    tell(child, { kind: "file", bytes });
  });
}
