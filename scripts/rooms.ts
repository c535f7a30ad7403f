/**
 * The room check: dependency-cruiser with the rules of `.dependency-cruiser.mjs`.
 *
 * Invariant: a run that did not see every source file fails. With a TypeScript version that it does
 * not know, dependency-cruiser reads no module and reports no violation, which would pass for clean.
 */
import fs from "node:fs";
import path from "node:path";
import { cruise, type ICruiseResult } from "dependency-cruiser";
import extractOptions from "dependency-cruiser/config-utl/extract-depcruise-options";

const rooms = ["agent", "controller", "shared", "scripts", "test"];
const projectRoot = path.dirname(import.meta.dirname);

export interface RoomFault {
  readonly rule: string;
  readonly from: string;
  readonly to: string;
  /** Why the rule is there. */
  readonly reason: string;
}

export interface RoomReport {
  readonly moduleCount: number;
  readonly dependencyCount: number;
  readonly faults: readonly RoomFault[];
}

/** Checks the rooms below `root` by this project's rules; `config` is the path of the rules. */
export async function checkRooms(
  root: string,
  config = path.join(projectRoot, ".dependency-cruiser.mjs"),
): Promise<RoomReport> {
  const present = rooms.filter((room) => fs.existsSync(path.join(root, room)));
  const options = await extractOptions(config);
  const { output } =
    present.length === 0
      ? { output: emptyResult }
      : await cruise(present, { ...options, baseDir: root, validate: true });
  if (typeof output === "string") throw new Error("dependency-cruiser gave text, not an object");
  return report(
    output,
    present.flatMap((room) => sourceFiles(root, room)),
  );
}

const emptyResult = { modules: [], summary: { violations: [] } } as unknown as ICruiseResult;

/** Judges a result against the source files on disk: those that were not read are faults too. */
export function report(result: ICruiseResult, files: readonly string[]): RoomReport {
  const own = result.modules.filter((module) => rooms.includes(module.source.split("/")[0] ?? ""));
  const seen = new Set(own.map((module) => module.source));
  const dependencyCount = own.reduce((sum, module) => sum + module.dependencies.length, 0);
  const comments = new Map(
    result.summary.ruleSetUsed?.forbidden?.map((rule) => [rule.name ?? "", rule.comment ?? ""]),
  );
  const broken = result.summary.violations.map(({ rule, from, to }) => ({
    rule: rule.name,
    from,
    to,
    reason: comments.get(rule.name) ?? "",
  }));
  return {
    moduleCount: own.length,
    dependencyCount,
    faults: [...broken, ...blindness(seen, dependencyCount, files)],
  };
}

function blindness(
  seen: ReadonlySet<string>,
  dependencyCount: number,
  files: readonly string[],
): RoomFault[] {
  const reason = "A check that reads nothing finds nothing.";
  if (files.length === 0) return [{ rule: "no-modules", from: "(no source file)", to: "", reason }];
  const faults = files
    .filter((file) => !seen.has(file))
    .map((file) => ({ rule: "not-read", from: file, to: "", reason }));
  if (dependencyCount === 0) {
    faults.push({ rule: "no-dependencies", from: "(all modules)", to: "", reason });
  }
  return faults;
}

function sourceFiles(root: string, room: string): string[] {
  return fs
    .readdirSync(path.join(root, room), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .map((file) => file.split(path.sep).join("/"))
    .filter((file) => !file.startsWith("test/fixtures/"));
}

if (import.meta.main) {
  const { moduleCount, dependencyCount, faults } = await checkRooms(projectRoot);
  for (const { rule, from, to, reason } of faults) {
    console.error(`${rule}: ${from}${to === "" || to === from ? "" : ` → ${to}`}\n  ${reason}`);
  }
  console.log(`rooms: ${moduleCount} modules, ${dependencyCount} imports, ${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
