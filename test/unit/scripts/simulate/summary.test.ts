/** From seeds to bars: what counts as a promise that was not kept. */
import { expect, it } from "vitest";
import { barsOf, type Ran, rowsOf } from "../../../../scripts/bench/simulate/summary.ts";

function ran(job: Partial<Ran["job"]>, result: Partial<Ran["result"]> = {}): Ran {
  return {
    job: { devices: 100, seed: 1, mix: "all", release: "healthy", operator: "absent", ...job },
    result: {
      status: "stopped",
      reason: null,
      decided: 10,
      committed: 5,
      offeredBeyond: 0,
      committedBeyond: 0,
      stopMs: null,
      harmMs: null,
      devices: job.devices ?? 100,
      tookMs: 0,
      leftCanary: false,
      faults: [],
      ...result,
    },
    tookMs: 60_000,
  };
}

const barValue = (runs: readonly Ran[], name: RegExp) =>
  barsOf(runs, 2).find((bar) => name.test(bar.name))?.value;

it("counts releases that broke every device and left the canary", () => {
  const runs = [
    ran({ release: "crash" }),
    ran({ release: "hang" }, { leftCanary: true }),
    ran({ release: "crash-live", mix: "service" }),
    ran({ release: "crash-live", mix: "none" }),
  ];
  expect(barValue(runs, /left the canary, of 3/)).toBe(1);
});

it("holds the product to drops of two points that reach all without a person, by size of the fleet", () => {
  const completed = { status: "completed", committed: 100 };
  const runs = [
    ran({ release: "drop-3" }, completed),
    ran({ release: "drop-20" }),
    ran({ release: "drop-20", operator: "trusting" }, completed),
    ran({ release: "small-all" }, completed),
    ran({ release: "drop-3", devices: 1_600 }, { committed: 320 }),
  ];
  expect(barValue(runs, /reached all in a fleet of 100 without/)).toBe(0.5);
  expect(barValue(runs, /reached all in a fleet that can prove/)).toBe(0);
  expect(barValue(runs, /ran a harmful release in a fleet that can prove/)).toBe(0.2);
});

it("tells per mix and release how long harm went on, of the seeds that had some", () => {
  const minute = 60_000;
  const runs = [
    ran({ release: "drop-3" }, { stopMs: minute, harmMs: null }),
    ran({ release: "drop-3" }, { stopMs: 3 * minute, harmMs: 2 * minute }),
    ran({ release: "drop-3" }, { stopMs: 9 * minute, harmMs: 4 * minute }),
    ran({ release: "drop-3", mix: "power" }),
  ];
  const rows = rowsOf(runs, 2);
  expect(rows).toHaveLength(2);
  expect(rows[0]).toMatchObject({
    seeds: 3,
    minutes: 1.5,
    stopMinutesMedian: 3,
    stopMinutesP99: 9,
    harmMinutesMedian: 2,
    harmMinutesP99: 4,
  });
  expect(rows[1]).toMatchObject({ stopMinutesMedian: null, harmMinutesP99: null });
});

it("counts the minutes of the fleets that are demanded, on the processes that share them", () => {
  const runs = [ran({}), ran({ devices: 10_000 }), ran({ devices: 1_600 })];
  expect(barValue(runs, /^minutes/)).toBe(1);
});
