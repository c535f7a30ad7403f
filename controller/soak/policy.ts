/** What every release orders its devices to watch after the commit. Reference §2.1, gate 2. */
import type { Soak } from "../../shared/artifact/soak.ts";

const hourMs = 3_600_000;

/** Null when `soakMs` is 0. */
export function soakOf(soakMs: number, budget: { latencyMsMax?: number | undefined }): Soak | null {
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
    latencySloMs: budget.latencyMsMax ?? null,
    // Early looks and the whole time.
    horizonsMs: [...new Set([hourMs, 6 * hourMs, soakMs])]
      .filter((at) => at <= soakMs)
      .sort((a, b) => a - b),
  };
}
