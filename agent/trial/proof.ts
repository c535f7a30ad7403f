/** What proves a bundle on this device: its golden shard, the truth of it, the controller's answers. */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import {
  decodeReference,
  decodeShard,
  type GoldenShard,
  type Reference,
  truthOf,
} from "../../shared/evaluation/golden-shard.ts";
import {
  type Answered,
  type Judged,
  judge,
  type Metric,
  type Truth,
} from "../../shared/evaluation/metrics/metric.ts";
import { metricOf } from "../../shared/evaluation/metrics/registry.ts";
import type { AgentContext } from "../context.ts";
import { storedPath } from "../paths.ts";

/** Longest golden shard or reference that is read, in bytes. */
const shardBytesMax = 512_000_000;
/** Losses of two machines that differ by more are different answers. */
const lossTolerance = 0.01;

export interface Proof {
  readonly shard: GoldenShard;
  readonly shardSha256: string;
  readonly truth: Truth;
  readonly metric: Metric;
  readonly reference: Reference;
}

/** Undefined when the manifest names no shard, or one whose metric needs another model to compare. */
export async function readProof(
  context: AgentContext,
  manifest: Manifest,
): Promise<Proof | undefined> {
  const [golden] = manifest.golden;
  if (golden === undefined) return undefined;
  const read = (sha256: string) =>
    context.files.read(storedPath(context.dataDir, sha256), { maxBytes: shardBytesMax });
  const shard = decodeShard(await read(golden.shard.sha256));
  const metric = metricOf(shard.metric);
  if (metric === undefined) return undefined;
  const reference = decodeReference(await read(golden.reference.sha256));
  return { shard, shardSha256: golden.shard.sha256, truth: truthOf(shard), metric, reference };
}

export function judgeProof({ metric, truth }: Proof, answered: Answered): Judged {
  return judge(metric, answered, truth);
}

/** Samples that this machine answers otherwise than the controller did with the same file. */
export function parityFlips({ metric, reference }: Proof, { top1, losses }: Judged): number {
  const differs =
    metric.output === "classification"
      ? (at: number) => top1[at] !== reference.top1[at]
      : (at: number) => !(Math.abs(losses[at]! - reference.losses[at]!) <= lossTolerance);
  return [...losses.keys()].filter(differs).length;
}
