/** The detector after a promotion: how seldom it is wrong, and how soon it sees a change. */
import { describe, expect, it } from "vitest";
import {
  type Detection,
  type DeviceWindow,
  hasAlarm,
  isShared,
  newDetection,
  shareMaxOf,
  windowsToFalseAlarm,
  withWindow,
} from "../../../controller/telemetry/detection.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import {
  type LogWealth,
  meanLogE,
  noDetection,
  withDetections,
} from "../../../shared/statistics/e-process.ts";

/** Failed calls of `calls` at the rate, as a share. */
function share(random: Random, rate: number, calls: number): number {
  let failed = 0;
  for (let call = 0; call < calls; call++) if (random.nextFloat() < rate) failed++;
  return failed / calls;
}

function windowsToAlarm(random: Random, rate: number, start: Detection, most: number): number {
  let detection = start;
  for (let window = 1; window <= most; window++) {
    detection = withWindow(detection, share(random, rate, 200));
    if (hasAlarm(detection)) return window;
  }
  return most + 1;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

describe("the mean number of steps to a false alarm", () => {
  // At the edge of the null, where it is shortest; a threshold that a test can wait for.
  const threshold = 500;
  const test = { mean: 0.05, low: 0, high: 1, side: "above" } as const;
  const runLength = (draw: () => number): number => {
    let logs: LogWealth = noDetection();
    for (let step = 1; ; step++) {
      logs = withDetections(logs, draw(), test);
      if (meanLogE(logs) >= Math.log(threshold)) return step;
    }
  };
  it.each<[string, (random: Random) => number]>([
    ["single calls", (random) => (random.nextFloat() < 0.05 ? 1 : 0)],
    ["windows of 20 calls", (random) => share(random, 0.05, 20)],
    ["devices that fail all at once", (random) => (random.nextFloat() < 0.1 ? 0.5 : 0)],
  ])("is at least the threshold, with %s", (_, draw) => {
    const random = seededRandom(17);
    const lengths = Array.from({ length: 300 }, () => runLength(() => draw(random)));
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    const deviation = Math.sqrt(
      lengths.reduce((sum, length) => sum + (length - mean) ** 2, 0) / lengths.length,
    );
    expect(mean + (3 * deviation) / Math.sqrt(lengths.length)).toBeGreaterThan(threshold);
  });
});

describe("a released bundle", () => {
  it("bears twice its share and a point more", () => {
    expect(shareMaxOf(0)).toBeCloseTo(0.01, 12);
    expect(shareMaxOf(0.02)).toBeCloseTo(0.05, 12);
    expect(shareMaxOf(0.7)).toBeLessThan(1);
    expect(windowsToFalseAlarm).toBe(500_000);
  });
  it("raises an alarm when its evidence comes to one in half a million windows, not before", () => {
    const at = (logDetector: number) =>
      hasAlarm({ ...newDetection(0.02), logDetectors: [logDetector, logDetector] });
    expect(at(Math.log(windowsToFalseAlarm) - 1e-9)).toBe(false);
    expect(at(Math.log(windowsToFalseAlarm) + 1e-9)).toBe(true);
  });
  it("counts its windows and the share that failed in them", () => {
    const seen = [0.25, 0.5].reduce(withWindow, newDetection(0.02));
    expect(seen).toMatchObject({ windows: 2, shareSum: 0.75, shareMax: shareMaxOf(0.02) });
  });
  it("that fails as seldom as before raises no alarm", () => {
    const random = seededRandom(3);
    expect(windowsToAlarm(random, 0.02, newDetection(0.02), 20_000)).toBe(20_001);
  });
  it("that fails in 6 % instead of 2 % is found within 150 windows of 200 calls", () => {
    const found = Array.from({ length: 100 }, (_, seed) => {
      const random = seededRandom(seed);
      // It was healthy for a while: the change is what counts, not the time before it.
      let detection = newDetection(0.02);
      for (let window = 0; window < 200; window++)
        detection = withWindow(detection, share(random, 0.02, 200));
      expect(hasAlarm(detection)).toBe(false);
      return windowsToAlarm(random, 0.06, detection, 2_000);
    });
    expect(median(found)).toBeLessThan(150);
    expect(Math.max(...found)).toBeLessThan(300);
  });
  it("that fails in every fifth call is found within 15", () => {
    expect(windowsToAlarm(seededRandom(1), 0.2, newDetection(0.02), 100)).toBeLessThan(15);
  });
});

describe("an alarm of many devices", () => {
  const shareBefore = 0.02;
  /** Windows to the alarm, each round one of every device at its own rate; `most + 1` without one. */
  function rounds(seed: number, rates: readonly number[], most: number): number {
    const random = seededRandom(seed);
    let detection = newDetection(shareBefore);
    const newest: DeviceWindow[] = [];
    for (let round = 1; round <= most; round++) {
      for (const [at, rate] of rates.entries()) {
        const window = { device: `d-${at}`, share: share(random, rate, 100) };
        newest.push(window);
        detection = withWindow(detection, window.share);
        if (hasAlarm(detection) && isShared(newest.slice(-300), shareBefore)) return round;
      }
    }
    return most + 1;
  }
  const healthy = (devices: number) => new Array<number>(devices).fill(shareBefore);
  it.each([2, 3, 10])("is never raised by one broken device of %i", (devices) => {
    for (let seed = 0; seed < 3; seed++) {
      expect(rounds(seed, [1, ...healthy(devices - 1)], 60)).toBe(61);
    }
  });
  it.each([2, 3, 10])("is raised when all %i fail in 10 % of their calls", (devices) => {
    for (let seed = 0; seed < 3; seed++) {
      const found = rounds(
        seed,
        healthy(devices).map(() => 0.1),
        200,
      );
      expect(found * devices).toBeLessThan(160);
    }
  });
  it("is raised by a region's only device, which nobody contradicts", () => {
    expect(rounds(1, [0.2], 100)).toBeLessThan(20);
  });
});
