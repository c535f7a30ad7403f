/**
 * Where calibration statistics come from: samples at hand, or devices that observe data of their own
 * and let nothing but statistics leave. Both take the same two tasks, one after the other: extremes,
 * then histograms on the grid that everybody's extremes give.
 */
import type { ExtremesOutput } from "./observe.ts";
import {
  type ExtremesTable,
  type HistogramTable,
  mergeExtremes,
  mergeHistograms,
  mergeTables,
  type ValueRange,
} from "./statistics.ts";

export interface ExtremesTask {
  /** An ONNX file that yields extremes in place of its own outputs. */
  readonly modelBytes: Uint8Array;
  readonly outputs: readonly ExtremesOutput[];
}

export interface HistogramTask {
  /** An ONNX file that yields the values to count, those that it takes excepted. */
  readonly modelBytes: Uint8Array;
  /** The grid of each value, the same for all who count. */
  readonly grids: ReadonlyMap<string, ValueRange>;
}

export interface CalibrationSource {
  /** Errors: `calibration-failed` without samples, for samples that do not fit, for NaN. */
  readonly extremes: (task: ExtremesTask) => Promise<ExtremesTable>;
  readonly histograms: (task: HistogramTask) => Promise<HistogramTable>;
}

/** Several sources as one: each observes its own data, and the statistics are merged here. */
export function mergedSource(sources: readonly CalibrationSource[]): CalibrationSource {
  return {
    async extremes(task) {
      const tables = await Promise.all(sources.map((source) => source.extremes(task)));
      return tables.reduce((merged, table) => mergeTables(merged, table, mergeExtremes));
    },
    async histograms(task) {
      const tables = await Promise.all(sources.map((source) => source.histograms(task)));
      return tables.reduce((merged, table) => mergeTables(merged, table, mergeHistograms));
    },
  };
}
