/** Rows of the watch after a commit: open soaks, samples that a label is asked for, spans of service. */
import type { Sqlite } from "../../shared/ports/sqlite.ts";

export interface SoakRow {
  readonly model: string;
  readonly attempt: string;
  readonly factsJson: string;
  readonly countsJson: string;
}
export interface SoakSampleRow {
  readonly attempt: string;
  readonly sample: string;
  readonly freshIndex: number;
  readonly runningIndex: number;
}

export function soakRows(sqlite: Sqlite) {
  return {
    soaks: (): SoakRow[] => sqlite.prepare("select * from soaks order by model").all() as SoakRow[],
    soak: (model: string) =>
      sqlite.prepare("select * from soaks where model = ?").get(model) as SoakRow | undefined,
    /** A model has at most one soak; an older one is replaced with its samples. */
    addSoak(row: SoakRow): void {
      sqlite.prepare("delete from soakSamples where model = ?").run(row.model);
      sqlite
        .prepare(
          "insert or replace into soaks (model, attempt, factsJson, countsJson) values (?, ?, ?, ?)",
        )
        .run(row.model, row.attempt, row.factsJson, row.countsJson);
    },
    saveSoak(attempt: string, countsJson: string): void {
      sqlite.prepare("update soaks set countsJson = ? where attempt = ?").run(countsJson, attempt);
    },
    removeSoak(model: string): void {
      sqlite.prepare("delete from soaks where model = ?").run(model);
      sqlite.prepare("delete from soakSamples where model = ?").run(model);
    },
    soakSample: (attempt: string, sample: string) =>
      sqlite
        .prepare("select * from soakSamples where attempt = ? and sample = ?")
        .get(attempt, sample) as (SoakSampleRow & { answered: number }) | undefined,
    addSoakSample(model: string, row: SoakSampleRow): void {
      sqlite
        .prepare(
          `insert into soakSamples (attempt, sample, model, freshIndex, runningIndex, answered)
           values (?, ?, ?, ?, ?, 0)`,
        )
        .run(row.attempt, row.sample, model, row.freshIndex, row.runningIndex);
    },
    answerSoakSample(attempt: string, sample: string): void {
      sqlite
        .prepare("update soakSamples set answered = 1 where attempt = ? and sample = ?")
        .run(attempt, sample);
    },
    addServingSpan(row: {
      model: string;
      bundleSha256: string;
      startedMs: number;
      endedMs: number;
      spanJson: string;
    }): void {
      sqlite
        .prepare(
          "insert or replace into servingSpans (model, bundleSha256, startedMs, endedMs, spanJson) values (?, ?, ?, ?, ?)",
        )
        .run(row.model, row.bundleSha256, row.startedMs, row.endedMs, row.spanJson);
    },
    /** Spans of a bundle that touch [fromMs, toMs), as JSON. */
    servingSpans: (
      model: string,
      bundleSha256: string,
      [fromMs, toMs]: readonly [number, number],
    ): string[] =>
      (
        sqlite
          .prepare(
            "select spanJson from servingSpans where model = +? and bundleSha256 = +? and endedMs > +? and startedMs < +? order by startedMs",
          )
          .all(model, bundleSha256, fromMs, toMs) as { spanJson: string }[]
      ).map(({ spanJson }) => spanJson),
    pruneServingSpans(beforeMs: number): void {
      sqlite.prepare("delete from servingSpans where endedMs < ?").run(beforeMs);
    },
  };
}
