/** What every release orders its devices to watch after the commit. Reference §2.1, gate 2. */
import type { Stage } from "../../shared/api/stages.ts";
import type { Soak } from "../../shared/artifact/soak.ts";

const hourMs = 3_600_000;

const horizonsMost = 8;
/** Traffic of a shorter time says nothing; also the shortest horizon of a manifest. */
const horizonMsMin = 500;

/**
 * Times after the commit at which devices of a rollout report their signals, rising: half way through the
 * soak of each stage, so that what they say is judged before the stage goes on; early looks; and the whole
 * time that they are ordered to watch. None is beyond that, so nobody waits for a report that never comes.
 */
export function horizonsOf(soakMs: number, stages: readonly Pick<Stage, "soakMs">[]): number[] {
  if (soakMs === 0) return [];
  const halves = stages.map((stage) => Math.floor(stage.soakMs / 2));
  const early = [...new Set([hourMs, 6 * hourMs, ...halves])]
    .filter((at) => at >= horizonMsMin && at < soakMs)
    .sort((a, b) => a - b);
  return [...early.slice(0, horizonsMost - 1), soakMs];
}

/** Null when `soakMs` is 0. */
export function soakOf(
  soakMs: number,
  { latencyMsMax }: { latencyMsMax?: number | undefined },
  horizonsMs: readonly number[],
): Soak | null {
  if (soakMs === 0) return null;
  return {
    durationMs: soakMs,
    shadowFraction: 0.05,
    cpuFractionMax: 0.05,
    celsiusMax: 80,
    disagreementMax: 0.02,
    margin: 0.02,
    crashFractionMax: 1e-6,
    inferTimeoutMs: 10_000,
    labelRequestsMax: 50,
    latencySloMs: latencyMsMax ?? null,
    horizonsMs: [...horizonsMs],
  };
}
