/**
 * Runs the tests: `npm test`, or `npm test -- <vitest arguments>` for a part of them. The last line says
 * how many passed and failed, so that a reader of a long log, or a program, finds it at the end.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const projectRoot = path.dirname(import.meta.dirname);

/** Counts of a run, or null when vitest ended before it wrote them. */
function readCounts(file: string): { passed: number; failed: number } | null {
  if (!fs.existsSync(file)) return null;
  const report = JSON.parse(fs.readFileSync(file, "utf8"));
  // A file that cannot be loaded has no tests that could fail, but it is a failure.
  const broken = report.testResults.filter(
    (suite: { status: string; assertionResults: unknown[] }) =>
      suite.status === "failed" && suite.assertionResults.length === 0,
  ).length;
  return { passed: report.numPassedTests, failed: report.numFailedTests + broken };
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fleetfit-test-"));
const counts = path.join(folder, "counts.json");
const vitest = path.join(projectRoot, "node_modules", "vitest", "vitest.mjs");
const flags = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${counts}`];
try {
  const run = spawnSync(process.execPath, [vitest, ...flags, ...process.argv.slice(2)], {
    cwd: projectRoot,
    stdio: "inherit",
  });
  const found = readCounts(counts);
  const total = found === null ? 0 : found.passed + found.failed;
  if (total === 0) console.error("no test ran");
  console.log(
    found === null ? "0 passed, 1 failed" : `${found.passed} passed, ${found.failed} failed`,
  );
  process.exitCode = total === 0 ? 1 : (run.status ?? 1);
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
