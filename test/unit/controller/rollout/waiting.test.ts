/** Which devices are waited for past a deadline, by what they said themselves. */
import { describe, expect, it } from "vitest";
import { isWaiting } from "../../../../controller/rollout/waiting.ts";
import { samplePayloads } from "../../../helpers/sample-payloads.ts";

const reported = samplePayloads.reported;
const hour = 3_600_000;

function waits(untilMs: number | null, nowMs: number, online: boolean, attempt = "a-2"): boolean {
  const digits = reported.models["digits"]!;
  const waiting = { code: "window", why: "closed", untilMs };
  const update = { ...digits.update!, state: "waiting", waiting };
  const said = { ...reported, models: { digits: { ...digits, update } } };
  return isWaiting(said, attempt, { nowMs, online });
}

describe("a device waits", () => {
  it("until shortly after its window opens, also while it is away", () => {
    expect(waits(10 * hour, 10 * hour, false)).toBe(true);
    expect(waits(10 * hour, 11 * hour, false)).toBe(true);
    expect(waits(10 * hour, 11 * hour + 1, true)).toBe(false);
  });
  it("without a known end only as long as it is there", () => {
    expect(waits(null, 0, true)).toBe(true);
    expect(waits(null, 0, false)).toBe(false);
  });
  it("with this attempt and no other, and only when it says so", () => {
    expect(waits(10 * hour, 0, true, "a-3")).toBe(false);
    expect(isWaiting(reported, "a-2", { nowMs: 0, online: true })).toBe(false);
    expect(isWaiting(undefined, "a-2", { nowMs: 0, online: true })).toBe(false);
  });
});
