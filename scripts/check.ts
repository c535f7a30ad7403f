/**
 * Every check in one command: format and lint, types, rooms, dead code, our own rules, tests.
 * `npm run check -- --skip-tests` leaves the tests out. All checks run even when one fails, so that one
 * run shows everything; the list at the end says which failed.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";

const projectRoot = path.dirname(import.meta.dirname);

interface Check {
  readonly name: string;
  readonly what: string;
  readonly script: string;
  readonly args: readonly string[];
}

const packages = "node_modules";
const checks: readonly Check[] = [
  {
    name: "biome",
    what: "format and lint",
    script: `${packages}/@biomejs/biome/bin/biome`,
    args: ["check", "--error-on-warnings", "."],
  },
  { name: "tsc", what: "types", script: `${packages}/typescript/bin/tsc`, args: ["-p", "."] },
  { name: "rooms", what: "who may import what", script: "scripts/rooms.ts", args: [] },
  {
    name: "knip",
    what: "dead code and packages",
    script: `${packages}/knip/bin/knip.js`,
    args: ["--treat-config-hints-as-errors", "--no-progress"],
  },
  { name: "tidy", what: "our own rules", script: "scripts/tidy.ts", args: [] },
  { name: "tests", what: "vitest, all projects", script: "scripts/test.ts", args: [] },
];

function run(check: Check): { name: string; passed: boolean; seconds: number } {
  console.log(`\n── ${check.name}: ${check.what}`);
  const start = performance.now();
  const { status, error } = spawnSync(process.execPath, [check.script, ...check.args], {
    cwd: projectRoot,
    stdio: "inherit",
  });
  if (error) console.error(error.message);
  const seconds = (performance.now() - start) / 1000;
  const passed = status === 0;
  console.log(`── ${check.name} ${passed ? "passed" : "FAILED"} in ${seconds.toFixed(1)} s`);
  return { name: check.name, passed, seconds };
}

const options = process.argv.slice(2);
const unknown = options.filter((option) => option !== "--skip-tests");
if (unknown.length > 0) {
  console.error(`unknown option ${unknown.join(" ")}; there is --skip-tests`);
  process.exit(2);
}
const results = checks
  .filter((check) => check.name !== "tests" || !options.includes("--skip-tests"))
  .map(run);
const failed = results.filter((result) => !result.passed).map((result) => result.name);
console.log(
  failed.length === 0
    ? `\nall ${results.length} checks passed`
    : `\n${failed.length} of ${results.length} checks failed: ${failed.join(", ")}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
