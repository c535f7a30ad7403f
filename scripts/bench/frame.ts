/**
 * What every benchmark shares: rows of measurements, bars that must hold, the machine and the versions
 * they were measured on, the table for people and the file for programs.
 *
 * Invariant: the file holds `{ name, machine, versions, rows, bars: [{ name, value, limit, ok }] }`, and a
 * run whose bars do not all hold ends with exit code 1.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import Table from "cli-table3";

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  readonly ok: boolean;
}

export type Row = Readonly<Record<string, string | number | boolean | null>>;

export interface Outcome {
  readonly rows: readonly Row[];
  readonly bars: readonly Bar[];
}

export interface Benchmark {
  readonly name: string;
  /** One sentence: what is measured, and against what. */
  readonly summary: string;
  /** Runs it; `say` shows progress and writes nothing to the result. */
  readonly run: (say: (line: string) => void) => Promise<Outcome>;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly arch: string;
  readonly isa: readonly string[];
  readonly ramBytes: number;
  readonly os: string;
}

export interface BenchReport extends Outcome {
  readonly name: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
}

/** A bar that holds when the value is the limit or less; a value that is not a number never holds. */
export function atMost(name: string, value: number, limit: number): Bar {
  return { name, value, limit, ok: value <= limit };
}

/** A bar that holds when the value is the limit or more; a value that is not a number never holds. */
export function atLeast(name: string, value: number, limit: number): Bar {
  return { name, value, limit, ok: value >= limit };
}

/** Instruction sets that change how fast a model runs: int8 and half precision above all. */
const isaFlags = new Set([
  ...["avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni"],
  ...["avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"],
  ...["asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"],
]);

/** Facts of this machine. `cpuInfo` is the text of /proc/cpuinfo, empty where there is none. */
export function machineFacts(cpuInfo = readCpuInfo()): Machine {
  const cpus = os.cpus();
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuInfo)?.[1]?.split(/\s+/) ?? [];
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: cpus.length,
    arch: os.arch(),
    isa: flags.filter((flag) => isaFlags.has(flag)),
    ramBytes: os.totalmem(),
    os: `${os.type()} ${os.release()}`,
  };
}

function readCpuInfo(): string {
  const file = "/proc/cpuinfo";
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
}

/** Versions that a figure depends on: this project, Node, and the packages named. */
export function versionFacts(
  root: string,
  packages = ["onnxruntime-node"],
): Record<string, string> {
  const version = (folder: string): string =>
    JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")).version;
  return {
    fleetfit: version(root),
    node: process.versions.node,
    ...Object.fromEntries(
      packages.map((name) => [name, version(path.join(root, "node_modules", name))]),
    ),
  };
}

/** The report as tables: one of the rows, one of the bars. */
export function printable(report: BenchReport): string {
  const { machine, versions, rows, bars } = report;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const parts = [
    `${report.name} on ${machine.cpu}, ${machine.cores} cores, ${machine.arch}, ${machine.os}`,
    `  ${machine.isa.join(" ") || "no known instruction sets"}`,
    `  ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}`,
    table(
      columns,
      rows.map((row) => columns.map((column) => cell(row[column]))),
    ),
  ];
  if (bars.length > 0) {
    parts.push(
      table(
        ["bar", "value", "limit", "holds"],
        bars.map((bar) => [bar.name, cell(bar.value), cell(bar.limit), bar.ok ? "yes" : "NO"]),
      ),
    );
  }
  return parts.join("\n");
}

function table(head: readonly string[], rows: readonly string[][]): string {
  const noLines = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" };
  const drawn = new Table({ head: [...head], style: { head: [], border: [] }, chars: noLines });
  drawn.push(...rows);
  return drawn.toString();
}

/** Letters of a cell that a table shows; the file for programs holds all. */
const cellMax = 120;

function cell(value: Row[string] | undefined): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string" && value.length > cellMax) return `${value.slice(0, cellMax)}…`;
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

/** Writes the report for programs: all of the file or nothing of it. */
export function writeReport(file: string, report: BenchReport): void {
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const draft = `${file}.${process.pid}.part`;
  fs.writeFileSync(draft, `${JSON.stringify(report, null, 2)}\n`);
  fs.renameSync(draft, file);
}

/** Exit code of a report: 0 only when every bar holds. */
export function reportExitCode(report: Outcome): 0 | 1 {
  return report.bars.every((bar) => bar.ok) ? 0 : 1;
}

/** Middle value; of an even number of values the mean of the middle two. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  const lower = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** Rounds that are not counted: the engine compiles what runs often while they pass. */
const warmUpRounds = 10;

/**
 * Times several ways to do the same work in alternating order, so that a slow spell of the machine hits
 * all of them. Returns the times of `rounds` rounds in milliseconds.
 */
export function timeInTurns<Name extends string>(
  ways: Readonly<Record<Name, () => unknown>>,
  rounds: number,
): Record<Name, number[]> {
  const names = Object.keys(ways) as Name[];
  const timesMs = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  for (let round = 0; round < warmUpRounds + rounds; round++) {
    // Every second round runs backwards: ABBA cancels a drift that is linear in time.
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const startMs = performance.now();
      ways[name]();
      const tookMs = performance.now() - startMs;
      if (round >= warmUpRounds) timesMs[name].push(tookMs);
    }
  }
  return timesMs;
}
