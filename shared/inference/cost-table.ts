/**
 * What operators cost on a processor, measured there: small models of a few equal operators in a row, as
 * the controller makes them, are timed, and the difference between many and one is theirs alone.
 *
 * Invariants: a table says which operator, type and size was timed, so that whoever reads it can
 * interpolate; times are the least of many runs, since everything else on a device only adds.
 */
import { z } from "zod";
import { type Feed, openSession, type Session } from "./session.ts";

/** Operators that are timed; `quantize` is one conversion of a float to a code. */
const costOperators = ["conv-3x3", "conv-1x1", "depthwise-3x3", "gemm", "add", "quantize"] as const;

export type CostOperator = (typeof costOperators)[number];

const costEntrySchema = z.object({
  operator: z.enum(costOperators),
  type: z.enum(["float32", "int8"]),
  /** In and out; of a gemm K and N. */
  channels: z.int().min(1),
  /** Positions that each channel has; 1 of a gemm. */
  pixels: z.int().min(1),
  /** Nanoseconds of one operator. */
  timeNs: z.number().min(0),
});
export type CostEntry = z.infer<typeof costEntrySchema>;

export const costTableSchema = z.object({ entries: z.array(costEntrySchema).max(1_000) });
export type CostTable = z.infer<typeof costTableSchema>;

/** Two models that differ in how many of the operators they hold. */
export interface CostProbe extends Omit<CostEntry, "timeNs"> {
  readonly shortModel: Uint8Array;
  readonly longModel: Uint8Array;
  /** Operators that the long model has more. */
  readonly links: number;
  /** The one input of both. */
  readonly input: { readonly name: string } & Feed;
}

/** Runs that a time is the least of. */
const runCount = 40;
const warmUpCount = 5;

/**
 * Times the probes one after the other, both models of each in turn, by a clock of nanoseconds. Blocks, so
 * call it in a process of its own. Errors: `onnx-malformed` when the runtime refuses a probe.
 */
export async function timeCostProbes(
  probes: readonly CostProbe[],
  nowNs: () => bigint,
): Promise<CostTable> {
  const entries: CostEntry[] = [];
  for (const { operator, type, channels, pixels, links, ...probe } of probes) {
    const short = await openSession(probe.shortModel);
    const long = await openSession(probe.longModel);
    const { name, ...feed } = probe.input;
    const least = await leastTimesNs([short, long], { [name]: feed }, nowNs);
    await short.release();
    await long.release();
    const timeNs = Math.max(least[1]! - least[0]!, 0) / links;
    entries.push({ operator, type, channels, pixels, timeNs });
  }
  return { entries };
}

/** The least time of each session's runs, taken in turn so that both see the same disturbances. */
async function leastTimesNs(
  sessions: readonly Session[],
  feeds: Readonly<Record<string, Feed>>,
  nowNs: () => bigint,
): Promise<number[]> {
  const least = sessions.map(() => Number.POSITIVE_INFINITY);
  for (let run = -warmUpCount; run < runCount; run++) {
    for (const [at, session] of sessions.entries()) {
      const started = nowNs();
      await session.run(feeds);
      const elapsed = Number(nowNs() - started);
      if (run >= 0) least[at] = Math.min(least[at]!, elapsed);
    }
  }
  return least;
}
