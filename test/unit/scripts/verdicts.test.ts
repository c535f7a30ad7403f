/**
 * The short version of the verdict benchmark: every study with fewer runs, so that a change which breaks
 * a stated error is seen here. The rivals must be seen to fail, which shows that the studies can.
 */
import { describe, expect, it } from "vitest";
import { resultOf, runStudy, studies } from "../../../scripts/simulate/verdicts/studies.ts";

const runs = { null: 150, power: 100, harm: 40, healthy: 40, "e-value": 150, rival: 100 } as const;

describe("studies of the fleet's verdicts", () => {
  it.each(studies.map((study) => [study.name, study] as const))("%s", (_name, study) => {
    const tally = runStudy(study, { from: 1_000_000, runs: runs[study.group] });
    const result = resultOf(study, [tally]);
    expect(result.ok, `${result.value} against ${result.limit}`).toBe(true);
  });
});
