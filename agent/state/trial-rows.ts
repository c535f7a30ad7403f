/**
 * What trials found out and must not look at twice: flips per pair of models and shard, and how often
 * an attempt looked at the latency.
 *
 * Invariant: a look is stored before its verdict is; the first count of a shard stands, since running
 * the same samples again is no new evidence.
 */
import type { Looks } from "../../shared/evaluation/gates.ts";
import type { Sqlite } from "../../shared/ports/sqlite.ts";

/** Pairs of models and shards that are remembered. */
const looksKept = 200;

export interface PairedLook {
  readonly freshSha256: string;
  readonly oldSha256: string;
  readonly shardSha256: string;
  readonly worse: number;
  readonly better: number;
}

export function trialRows(sqlite: Sqlite) {
  return {
    /** Adds what one shard showed; answers what all shards of this pair of models show together. */
    addPairedLook(look: PairedLook): Looks {
      return sqlite.transaction(() => {
        sqlite
          .prepare(
            `insert or ignore into pairedLooks (freshSha256, oldSha256, shardSha256, worse, better, number)
             values (?, ?, ?, ?, ?, (select coalesce(max(number), 0) + 1 from pairedLooks))`,
          )
          .run(look.freshSha256, look.oldSha256, look.shardSha256, look.worse, look.better);
        sqlite
          .prepare(
            "delete from pairedLooks where number <= (select max(number) from pairedLooks) - ?",
          )
          .run(looksKept);
        return sqlite
          .prepare(
            `select count(*) as shards, sum(worse) as worse, sum(better) as better
             from pairedLooks where freshSha256 = ? and oldSha256 = ?`,
          )
          .get(look.freshSha256, look.oldSha256) as Looks;
      });
    },
    /** Counts a look at the latency before it begins; answers its number, from 1. */
    beginLook(attempt: string): number {
      const row = sqlite
        .prepare("update attempts set looks = looks + 1 where id = ? returning looks")
        .get(attempt) as { looks: number } | undefined;
      return row?.looks ?? 1;
    },
  };
}
