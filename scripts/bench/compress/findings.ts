/**
 * What was found about one model or about all, and the parts of a run that are done, kept on disk while it lasts,
 * so that one that was cut off goes on where it stopped.
 *
 * Invariant: findings are taken from disk only when the programs that made them are the same to the byte.
 */
import fs from "node:fs";
import path from "node:path";
import type { Row } from "../frame.ts";
import { sourceHash } from "../source-hash.ts";
import type { CommandResult } from "./commands.ts";
import type { Duel, SpeedResult } from "./contest.ts";
import type { MemoryResult } from "./memory.ts";
import type { ParityResult } from "./parity.ts";
import { cacheFolder } from "./peers.ts";
import type { SizeResult } from "./size.ts";
import type { TimeResult } from "./time.ts";

export interface Findings {
  readonly rows: readonly Row[];
  readonly duels: readonly Duel[];
  readonly speeds: readonly SpeedResult[];
  readonly sizes: readonly SizeResult[];
  readonly times: readonly TimeResult[];
  readonly parities: readonly ParityResult[];
  readonly memory: readonly MemoryResult[];
  readonly commands: readonly CommandResult[];
  /** Published accuracies that were not measured again, to the decimal that was published. */
  readonly mismatches: readonly string[];
}

export const nothingFound: Findings = {
  rows: [],
  duels: [],
  speeds: [],
  sizes: [],
  times: [],
  parities: [],
  memory: [],
  commands: [],
  mismatches: [],
};

export function joined(parts: readonly Findings[]): Findings {
  return {
    rows: parts.flatMap(({ rows }) => rows),
    duels: parts.flatMap(({ duels }) => duels),
    speeds: parts.flatMap(({ speeds }) => speeds),
    sizes: parts.flatMap(({ sizes }) => sizes),
    times: parts.flatMap(({ times }) => times),
    parities: parts.flatMap(({ parities }) => parities),
    memory: parts.flatMap(({ memory }) => memory),
    commands: parts.flatMap(({ commands }) => commands),
    mismatches: parts.flatMap(({ mismatches }) => mismatches),
  };
}

/** What findings come from: the programs, and the packages that they are built on. */
const sources = ["controller", "shared", "scripts/bench", "package-lock.json"];
const projectRoot = path.resolve(import.meta.dirname, "../../..");

export interface KeptFindings {
  /** What an earlier run found under this name, or what `find` finds now. */
  once(name: string, find: () => Promise<Findings>): Promise<Findings>;
  /** When a whole run has been told: the next one begins anew. */
  forget(): void;
}

/** In JSON a number that is none is null, which no bar takes for a number either. */
export function keptFindings(
  folder = path.join(cacheFolder, "findings"),
  root = projectRoot,
): KeptFindings {
  const hash = sourceHash(root, sources);
  const used = new Set<string>();
  return {
    async once(name, find) {
      const file = path.join(folder, `${hash}-${name}.json`);
      used.add(file);
      if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, "utf8")) as Findings;
      const found = await find();
      fs.mkdirSync(folder, { recursive: true });
      fs.writeFileSync(`${file}.part`, JSON.stringify(found));
      fs.renameSync(`${file}.part`, file);
      return found;
    },
    forget() {
      for (const file of used) fs.rmSync(file, { force: true });
    },
  };
}
