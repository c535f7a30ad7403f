/**
 * `npm run bench -- NAME [--json FILE]` runs one benchmark, `npm run bench -- list` names them. Exit code
 * 0: every bar held; 1: one fell short or the run failed; 2: the command line was wrong.
 */
import path from "node:path";
import { parseArgs } from "node:util";
import { exitOnSignals } from "../fleet/programs.ts";
import { machineFacts, printable, reportExitCode, versionFacts, writeReport } from "./frame.ts";
import { benchmarks } from "./registry.ts";

const projectRoot = path.resolve(import.meta.dirname, "../..");
const usage = "usage: npm run bench -- NAME [--json FILE], or: npm run bench -- list";

function list(): string {
  const width = Math.max(...benchmarks.map(({ name }) => name.length));
  return benchmarks.map(({ name, summary }) => `${name.padEnd(width)}  ${summary}`).join("\n");
}

async function run(name: string, jsonFile: string | undefined): Promise<number> {
  const benchmark = benchmarks.find((candidate) => candidate.name === name);
  if (benchmark === undefined) {
    console.error(`there is no benchmark "${name}"; these are there:\n${list()}`);
    return 2;
  }
  const outcome = await benchmark.run((line) => console.error(`${name}: ${line}`));
  const report = {
    name,
    machine: machineFacts(),
    versions: versionFacts(projectRoot),
    ...outcome,
  };
  console.log(printable(report));
  if (jsonFile !== undefined) writeReport(jsonFile, report);
  return reportExitCode(report);
}

function parse(args: string[]): { name: string; json: string | undefined } | null {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { json: { type: "string" } },
      allowPositionals: true,
    });
    const [name, ...rest] = positionals;
    return name === undefined || rest.length > 0 ? null : { name, json: values.json };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return null;
  }
}

const command = parse(process.argv.slice(2));
if (command === null) {
  console.error(`${usage}\n${list()}`);
  process.exitCode = 2;
} else if (command.name === "list") {
  console.log(list());
} else {
  exitOnSignals();
  process.exitCode = await run(command.name, command.json);
}
