/** The frame of the benchmarks: bars, exit codes, the file for programs, facts of the machine. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import {
  atLeast,
  atMost,
  machineFacts,
  median,
  printable,
  reportExitCode,
  timeInTurns,
  versionFacts,
  writeReport,
} from "../../../scripts/bench/frame.ts";
import { benchmarks } from "../../../scripts/bench/registry.ts";

const report = {
  name: "sample",
  machine: machineFacts("flags\t\t: fpu avx2 vmx avx512_vnni\n"),
  versions: { fleetfit: "0.0.0" },
  rows: [{ file: "a.onnx", ms: 1.23456 }, { file: "b.onnx" }],
  bars: [atMost("time", 2, 1), atLeast("rate", 2, 1)],
};

test("a bar holds at its limit, and a value that is not a number never holds", () => {
  expect(atMost("x", 1, 1).ok).toBe(true);
  expect(atMost("x", 1.01, 1).ok).toBe(false);
  expect(atLeast("x", 1, 1).ok).toBe(true);
  expect(atLeast("x", 0.99, 1).ok).toBe(false);
  expect(atMost("x", Number.NaN, 1).ok).toBe(false);
  expect(atLeast("x", Number.NaN, 1).ok).toBe(false);
});

test("the exit code is 1 when one bar falls short", () => {
  expect(reportExitCode(report)).toBe(1);
  expect(reportExitCode({ rows: [], bars: [atMost("x", 1, 1)] })).toBe(0);
});

test("the file holds the whole report", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fleetfit-bench-"));
  try {
    const file = path.join(folder, "deeper", "result.json");
    writeReport(file, report);
    expect(JSON.parse(fs.readFileSync(file, "utf8"))).toEqual(report);
    expect(fs.readdirSync(path.dirname(file))).toEqual(["result.json"]);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test("the machine's instruction sets that matter are named", () => {
  expect(report.machine.isa).toEqual(["avx2", "avx512_vnni"]);
  expect(machineFacts("Features\t: fp asimd asimddp i8mm\n").isa).toEqual([
    "asimd",
    "asimddp",
    "i8mm",
  ]);
  expect(machineFacts("").isa).toEqual([]);
});

test("versions are read from the packages", () => {
  const root = path.resolve(import.meta.dirname, "../../..");
  const versions = versionFacts(root);
  expect(versions["node"]).toBe(process.versions.node);
  expect(versions["onnxruntime-node"]).toMatch(/^\d+\.\d+\.\d+/);
});

test("the table names what falls short", () => {
  const text = printable(report);
  expect(text).toMatch(/time .* NO/);
  expect(text).toMatch(/rate .* yes/);
  expect(text).toContain("1.235");
});

test("the table shows the beginning of a long cell", () => {
  const text = printable({ ...report, rows: [{ note: "x".repeat(500) }] });
  expect(text).toContain("x…");
  expect(text).not.toContain("x".repeat(200));
});

test("median", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test("ways are timed in turns, backwards every second round, after the same warm-up", () => {
  const order: string[] = [];
  const times = timeInTurns({ a: () => order.push("a"), b: () => order.push("b") }, 3);
  expect(times.a).toHaveLength(3);
  expect(times.b).toHaveLength(3);
  expect(order.slice(0, 4).join("")).toBe("abba");
  expect(order.filter((name) => name === "a").length).toBe(order.length / 2);
});

test("names of benchmarks are unique and none is `list`", () => {
  const names = benchmarks.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).not.toContain("list");
});
