/**
 * Progress of the demo for a person: one line per step, rewritten in place on a terminal, and the
 * list of expectations that decides the exit code.
 */
import { SingleBar } from "cli-progress";

export interface Reporter {
  /** Runs one step and shows how long it took. */
  step<T>(title: string, work: (say: (detail: string) => void) => Promise<T>): Promise<T>;
  /** A bar from 0 to 1 inside a step. */
  bar(title: string): { update(fraction: number, detail: string): void; stop(): void };
  /** Records one expectation; a broken one is printed at once. */
  expect(holds: boolean, sentence: string): void;
  /** Expectations that did not hold. */
  broken(): readonly string[];
  kept(): number;
}

export function consoleReporter(): Reporter {
  const isTerminal = process.stdout.isTTY === true;
  const broken: string[] = [];
  let kept = 0;
  let number = 0;
  return {
    async step(title, work) {
      const label = `${String(++number).padStart(2)}. ${title}`;
      const startedMs = performance.now();
      let last = "";
      process.stdout.write(isTerminal ? `${label} …` : "");
      const answer = await work((detail) => {
        last = detail;
        if (isTerminal) process.stdout.write(`\r\x1b[K${label} … ${detail}`);
      });
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      const line = `${label}${last === "" ? "" : `: ${last}`} (${seconds} s)`;
      process.stdout.write(isTerminal ? `\r\x1b[K${line}\n` : `${line}\n`);
      return answer;
    },
    bar(title) {
      const bar = new SingleBar({
        format: `    ${title} {bar} {percentage} % {detail}`,
        hideCursor: true,
        noTTYOutput: false,
        clearOnComplete: true,
      });
      if (isTerminal) process.stdout.write("\n");
      bar.start(100, 0, { detail: "" });
      return {
        update: (fraction, detail) => bar.update(Math.round(fraction * 100), { detail }),
        stop: () => bar.stop(),
      };
    },
    expect(holds, sentence) {
      if (holds) kept++;
      else broken.push(sentence);
      if (!holds) console.log(`    NOT AS EXPECTED: ${sentence}`);
    },
    broken: () => broken,
    kept: () => kept,
  };
}
