/** Tables for people, JSON for programs, bars for long work. */
import { type Options, Presets, SingleBar } from "cli-progress";
import Table from "cli-table3";
import type { CliIo } from "./io.ts";

export type Cell = string | number | null | undefined;

/** A table with a head; a sentence instead when there is no row. */
export function table(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  whenEmpty: string,
): string {
  if (rows.length === 0) return whenEmpty;
  const result = new Table({ head: [...head], style: { head: [], border: [], compact: true } });
  for (const row of rows) result.push(row.map((cell) => String(cell ?? "")));
  return result.toString();
}

/** Names and values, one pair per line. */
export function facts(pairs: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value ?? "–"}`).join("\n");
}

/** Prints the answer as JSON when asked, for people otherwise. */
export function show<Answer>(
  io: CliIo,
  options: { json?: boolean | undefined },
  answer: Answer,
  forPeople: (answer: Answer) => string,
): void {
  io.out(options.json === true ? JSON.stringify(answer, null, 2) : forPeople(answer));
}

export interface Progress {
  readonly set: (fraction: number, message: string) => void;
  readonly end: () => void;
}

/** A bar on a terminal, lines elsewhere; both on standard error. */
export function progress(io: CliIo, title: string): Progress {
  if (!io.interactive) return lines(io, title);
  const options: Options = {
    format: `${title} {bar} {percentage} % {message}`,
    hideCursor: true,
    clearOnComplete: false,
  };
  const bar = new SingleBar(options, Presets.shades_classic);
  bar.start(100, 0, { message: "" });
  return {
    set: (fraction, message) => bar.update(Math.round(fraction * 100), { message }),
    end: () => bar.stop(),
  };
}

/** A line per tenth, so that a log stays short. */
function lines(io: CliIo, title: string): Progress {
  let shown = -1;
  return {
    set(fraction, message) {
      const tenth = Math.floor(fraction * 10);
      if (tenth <= shown) return;
      shown = tenth;
      io.err(`${title}: ${message} (${Math.round(fraction * 100)} %)`);
    },
    end() {},
  };
}

export function percent(fraction: number | null | undefined): string {
  return fraction == null ? "" : `${(fraction * 100).toFixed(2)} %`;
}

export function kilobytes(bytes: number | null | undefined): string {
  return bytes == null ? "" : `${(bytes / 1000).toFixed(1)} kB`;
}

export function time(atMs: number | null | undefined): string {
  return atMs == null ? "" : new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
}
