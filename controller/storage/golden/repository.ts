/** Golden sets and their shards, named by the hash of their pool. */
import { z } from "zod";
import { type MetricName, metricNameSchema } from "../../../shared/evaluation/metrics/registry.ts";
import { recordBlobs, type StoredBlob } from "../blobs/repository.ts";
import type { Database } from "../database.ts";

/** Blob hash of each file by its name, and the manifest's name under the empty name. */
const filesSchema = z.record(z.string(), z.string());

/** What repeats a split exactly: seeded sequences never change. */
export const splitSchema = z.object({
  seed: z.int(),
  sizes: z.object({
    calibration: z.int(),
    selection: z.int(),
    sealed: z.int(),
    shardSamples: z.int(),
  }),
});

export interface StoredGoldenSet {
  readonly poolSha256: string;
  readonly name: string;
  readonly samples: number;
  readonly metric: MetricName;
  readonly manifest: string;
  /** Blob hash of each file by its name, the manifest included. */
  readonly files: Readonly<Record<string, string>>;
  readonly split: z.infer<typeof splitSchema>;
  readonly createdAtMs: number;
}

export interface StoredShard extends StoredBlob {
  readonly shardIndex: number;
}

/** A set that is stored already stays as it is, shards included. */
export async function insertGoldenSet(
  db: Database,
  set: StoredGoldenSet,
  shards: readonly StoredShard[],
): Promise<void> {
  const { poolSha256, name, samples, metric, createdAtMs } = set;
  const row = {
    poolSha256,
    name,
    samples,
    metric,
    createdAtMs,
    filesJson: JSON.stringify({ ...set.files, "": set.manifest }),
    splitJson: JSON.stringify(set.split),
  };
  await db
    .insertInto("goldenSets")
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  if (shards.length === 0) return;
  await db
    .insertInto("goldenShards")
    .values(shards.map((shard) => ({ poolSha256, ...shard })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await recordBlobs(db, shards, createdAtMs);
}

export async function listGoldenSets(db: Database): Promise<StoredGoldenSet[]> {
  const rows = await db.selectFrom("goldenSets").selectAll().orderBy("createdAtMs").execute();
  return rows.map(fromRow);
}

export async function findGoldenSet(
  db: Database,
  poolSha256: string,
): Promise<StoredGoldenSet | undefined> {
  const row = await db
    .selectFrom("goldenSets")
    .selectAll()
    .where("poolSha256", "=", poolSha256)
    .executeTakeFirst();
  return row === undefined ? undefined : fromRow(row);
}

/** In the order of their index. */
export async function listShards(db: Database, poolSha256: string): Promise<StoredShard[]> {
  return db
    .selectFrom("goldenShards")
    .select(["shardIndex", "sha256", "bytes"])
    .where("poolSha256", "=", poolSha256)
    .orderBy("shardIndex")
    .execute();
}

function fromRow(row: {
  poolSha256: string;
  name: string;
  samples: number;
  metric: string;
  filesJson: string;
  splitJson: string;
  createdAtMs: number;
}): StoredGoldenSet {
  const { poolSha256, name, samples, createdAtMs } = row;
  const { "": manifest = "", ...files } = filesSchema.parse(JSON.parse(row.filesJson));
  return {
    manifest,
    files,
    poolSha256,
    name,
    samples,
    createdAtMs,
    metric: metricNameSchema.parse(row.metric),
    split: splitSchema.parse(JSON.parse(row.splitJson)),
  };
}
