/**
 * `npm run models`: trains the committed demo models again, about three minutes on one core.
 * `npm run models -- --check` compares with the committed files instead of writing, and exits with
 * 1 when a byte differs. The same kind of CPU gives the same bytes; another one may round sums
 * otherwise, and then the accuracies are what should agree.
 */
import { parseArgs } from "node:util";
import { SingleBar } from "cli-progress";
import Table from "cli-table3";
import { type MadeVersion, makeDigitVersions } from "./digits/make.ts";
import { readDigitsRecord, writeDigitModel, writeDigitsRecord } from "./digits/record.ts";
import { makeProbeModels } from "./probe.ts";

const { values: flags } = parseArgs({ options: { check: { type: "boolean", default: false } } });
const { versions, poolImages } = await makeWithProgress();
printTable(versions);
if (flags.check) {
  process.exitCode = compare(versions) ? 0 : 1;
} else {
  for (const { bytes, record } of versions) writeDigitModel(record.version, bytes);
  await makeProbeModels();
  writeDigitsRecord({ poolImages, versions: versions.map(({ record }) => record) });
  console.log("written to scripts/models/digits");
}

async function makeWithProgress() {
  let bar: SingleBar | undefined;
  return makeDigitVersions({
    onProgress: ({ version }, { step, steps, loss }) => {
      bar ??= startBar(version, steps);
      bar.update(step, { loss: loss.toFixed(4) });
    },
    onVersion: () => {
      bar?.stop();
      bar = undefined;
    },
  });
}

/** Without a terminal a line every 10 s stands for the moving bar. */
function startBar(version: number, steps: number): SingleBar {
  const bar = new SingleBar({
    format: `version ${version} [{bar}] step {value}/{total} loss {loss} {eta_formatted} left`,
    noTTYOutput: !process.stderr.isTTY,
    notTTYSchedule: 10_000,
  });
  bar.start(steps, 0, { loss: "" });
  return bar;
}

function printTable(made: readonly MadeVersion[]): void {
  const table = new Table({
    head: ["version", "accuracy", "flips", "of them worse", "bytes", "how"],
    style: { head: [], border: [] },
  });
  for (const { record } of made) {
    const accuracy = `${(100 * record.accuracy).toFixed(2)} %`;
    const { version, flips, negativeFlips, bytes, summary } = record;
    table.push([version, accuracy, flips, negativeFlips, bytes, summary]);
  }
  console.log(table.toString());
}

function compare(made: readonly MadeVersion[]): boolean {
  const committed = new Map(readDigitsRecord().versions.map((record) => [record.version, record]));
  const different = made.filter(
    ({ record }) => committed.get(record.version)?.sha256 !== record.sha256,
  );
  for (const { record } of different) {
    const before = committed.get(record.version)?.accuracy ?? Number.NaN;
    console.log(
      `version ${record.version} has other bytes; accuracy ${record.accuracy}, committed ${before}`,
    );
  }
  if (different.length === 0) console.log("every byte as committed");
  return different.length === 0;
}
