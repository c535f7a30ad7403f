/**
 * Times the probes of a cost table.
 *
 * Invariants: times are the least of many runs, since everything else on a device only adds; a slow
 * processor makes fewer runs, so the whole takes a bounded time.
 */
import type { CostProbe } from "./cost-probes.ts";
import type { CostEntry, CostTimes } from "./cost-table.ts";
import { type Feed, openSession, type Session } from "./session.ts";

/** Runs of each half, of which the least counts. */
const halfRuns = 20;
const halfRunsMin = 3;
const warmUpRuns = 5;
/** Time of one half of one probe, after which no further run is made. */
const halfBudgetNs = 1_000_000_000n;
/** Least times of both halves that differ by more tell that something else ran. */
const halvesRatioMax = 1.25;
/** Share of the probes that may. */
const unsteadyShareMax = 0.2;

/**
 * Times the probes one after the other, both models of each in turn, by a clock of nanoseconds. Blocks, so
 * call it in a process of its own. Errors: `onnx-malformed` when the runtime refuses a probe.
 */
export async function timeCostProbes(
  probes: Iterable<CostProbe>,
  nowNs: () => bigint,
): Promise<CostTimes> {
  const entries: CostEntry[] = [];
  let unsteady = 0;
  for (const { operator, type, channels, pixels, links, ...probe } of probes) {
    const short = await openSession(probe.shortModel);
    const long = await openSession(probe.longModel);
    const feeds = { [probe.input.name]: feedOf(probe.input) };
    const halves = await twoHalves([short, long], feeds, nowNs);
    await short.release();
    await long.release();
    const [shortNs, longNs] = [0, 1].map((at) => Math.min(...halves.map((half) => half[at]!)));
    const longest = Math.max(...halves.map((half) => half[1]!));
    if (longest > longNs! * halvesRatioMax) unsteady++;
    const timeNs = Math.max(longNs! - shortNs!, 0) / links;
    entries.push({ operator, type, channels, pixels, timeNs });
  }
  return { table: { entries }, isSteady: unsteady <= entries.length * unsteadyShareMax };
}

function feedOf({ dtype, shape, data }: CostProbe["input"]): Feed {
  if (dtype === "uint8") return { dtype, shape, data };
  // A copy lies at the start of its own buffer, as the elements must.
  return { dtype, shape, data: new Float32Array(data.slice().buffer) };
}

type Feeds = Readonly<Record<string, Feed>>;

async function twoHalves(
  sessions: readonly Session[],
  feeds: Feeds,
  nowNs: () => bigint,
): Promise<number[][]> {
  for (let run = 0; run < warmUpRuns; run++) {
    for (const session of sessions) await session.run(feeds);
  }
  return [await leastTimesNs(sessions, feeds, nowNs), await leastTimesNs(sessions, feeds, nowNs)];
}

/** The least time of each session's runs, taken in turn so that both see the same disturbances. */
async function leastTimesNs(
  sessions: readonly Session[],
  feeds: Feeds,
  nowNs: () => bigint,
): Promise<number[]> {
  const least = sessions.map(() => Number.POSITIVE_INFINITY);
  const endNs = nowNs() + halfBudgetNs;
  for (let run = 0; run < halfRuns; run++) {
    if (run >= halfRunsMin && nowNs() > endNs) break;
    for (const [at, session] of sessions.entries()) {
      const started = nowNs();
      await session.run(feeds);
      least[at] = Math.min(least[at]!, Number(nowNs() - started));
    }
  }
  return least;
}
