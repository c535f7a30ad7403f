/** What a pair says from its traffic, and when it says nothing. */
import { describe, expect, it } from "vitest";
import { inferencesMin, liveDrops } from "../../../../controller/rollout/live-pairs.ts";

const share = (before: number, after: number, n = 200) => ({
  before: { mean: before, n },
  after: { mean: after, n },
});

describe("the drop of a pair", () => {
  it("is the canary's change against its control's, above 0 when worse", () => {
    const canary = {
      errors: share(0.01, 0.06),
      "over-slo": share(0.2, 0.1),
      agreement: share(1, 0.97),
    };
    const control = {
      errors: share(0.02, 0.03),
      "over-slo": share(0.1, 0.1),
      agreement: share(1, 1),
    };
    const drops = new Map(liveDrops(canary, control).map(({ signal, drop }) => [signal, drop]));
    expect(drops.get("errors")).toBeCloseTo(0.04, 12);
    expect(drops.get("over-slo")).toBeCloseTo(-0.1, 12);
    expect(drops.get("agreement")).toBeCloseTo(0.03, 12);
    expect(drops.size).toBe(3);
  });
  it("turns its sign with the arms, so chance favours neither", () => {
    const [one, other] = [{ errors: share(0, 1) }, { errors: share(0.9, 0.1) }];
    const [there] = liveDrops(one, other);
    const [back] = liveDrops(other, one);
    expect(there?.drop).toBe(1);
    expect(back?.drop).toBe(-1);
  });
  it("is missing where one of four means has too little traffic, and not zero", () => {
    const enough = share(0, 0, inferencesMin);
    const quiet = { before: { mean: 0, n: 200 }, after: { mean: 0, n: inferencesMin - 1 } };
    expect(liveDrops({ errors: enough }, { errors: enough })).toEqual([
      { signal: "errors", drop: 0 },
    ]);
    expect(liveDrops({ errors: quiet }, { errors: enough })).toEqual([]);
    expect(liveDrops({ errors: enough }, { errors: quiet })).toEqual([]);
    expect(liveDrops({ errors: enough }, {})).toEqual([]);
    expect(liveDrops({ errors: share(0, 0, 0) }, { errors: share(0, 0, 0) })).toEqual([]);
  });
  it("is not made of what cannot be a share", () => {
    expect(liveDrops({ errors: share(0, 1e9) }, { errors: share(0, 0) })).toEqual([]);
    expect(liveDrops({ errors: share(-1, 0) }, { errors: share(0, 0) })).toEqual([]);
  });
});
