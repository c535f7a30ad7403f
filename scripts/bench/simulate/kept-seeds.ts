/**
 * Seeds that are done, kept on disk while a run lasts, so that one that was cut off goes on where it stopped.
 *
 * Invariants: seeds are taken from a file only when the programs that made them are the same to the byte; a
 * line that was torn when the machine went down is a seed that was not run.
 */
import fs from "node:fs";
import path from "node:path";
import { sourceHash } from "../source-hash.ts";
import type { Job } from "./jobs.ts";
import type { Ran } from "./summary.ts";

/** What a seed's outcome comes from: the programs, and the packages that they are built on. */
const sources = ["agent", "controller", "shared", "scripts/simulate", "package-lock.json"];

export interface KeptSeeds {
  readonly done: readonly Ran[];
  /** The jobs that are not done. */
  left<Of extends Job>(jobs: readonly Of[]): Of[];
  add(ran: Ran): void;
  /** When all are done: the next run begins anew. */
  forget(): void;
}

/** Opens what an earlier run of the same programs left in `folder`; `root` is where the programs lie. */
export function keptSeeds(root: string, folder: string): KeptSeeds {
  const file = path.join(folder, `${sourceHash(root, sources)}.jsonl`);
  fs.mkdirSync(folder, { recursive: true });
  const done = linesOf(file);
  const names = new Set(done.map(({ job }) => nameOf(job)));
  return {
    done,
    left: (jobs) => jobs.filter((job) => !names.has(nameOf(job))),
    add: (ran) => fs.appendFileSync(file, `${JSON.stringify(ran)}\n`),
    forget: () => fs.rmSync(file, { force: true }),
  };
}

function nameOf({ devices, mix, release, operator, seed }: Job): string {
  return [devices, mix, release, operator, seed].join(" ");
}

function linesOf(file: string): Ran[] {
  if (!fs.existsSync(file)) return [];
  const whole = fs.readFileSync(file, "utf8").split("\n").slice(0, -1);
  // What was torn is cut off, so that the next line begins where a line begins.
  fs.writeFileSync(file, whole.map((line) => `${line}\n`).join(""));
  return whole.map((line) => JSON.parse(line) as Ran);
}
