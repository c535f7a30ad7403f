/** A part of the crash benchmark: one harness with its rows and bars. */
import type { Outcome } from "../frame.ts";

export interface CrashPart {
  readonly name: string;
  run(say: (line: string) => void): Promise<Outcome>;
}
