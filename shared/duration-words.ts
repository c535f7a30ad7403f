/** Durations as people say them. */

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;

/** `30 min`, `1.5 h`, `3 d`: in the largest unit of which it is a whole. */
export function durationWords(durationMs: number): string {
  for (const [unit, unitMs] of units) {
    if (durationMs >= unitMs) return `${Number((durationMs / unitMs).toFixed(1))} ${unit}`;
  }
  return `${durationMs} ms`;
}
