/** When a device may install: windows on a local clock, batteries, holds, clocks that are wrong. */
import { describe, expect, it } from "vitest";
import type { Power } from "../../../agent/probe/power.ts";
import { type Circumstances, mustWait, patienceMs } from "../../../agent/update/permission.ts";
import { parseRegions } from "../../../controller/fleet/regions.ts";
import {
  type InstallPolicy,
  type InstallWindow,
  installAlways,
} from "../../../shared/artifact/install-policy.ts";

const mains: Power = { source: "mains", fraction: null };
const given = (change: Partial<Circumstances> = {}): Circumstances => ({
  held: undefined,
  now: { ms: Date.UTC(2026, 10, 24, 12), known: true },
  waitedMs: 0,
  power: mains,
  ...change,
});
const at = (iso: string, known = true) => given({ now: { ms: Date.parse(iso), known } });
const inZone = (timeZone: string, ...windows: InstallWindow[]): InstallPolicy => ({
  timeZone,
  windows,
  batteryFractionMin: 0,
});
const daily = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
const nights = (
  from: string,
  to: string,
  days: readonly InstallWindow["days"][number][] = daily,
) => ({
  days: [...days],
  from,
  to,
});

describe("a window", () => {
  const paris = inZone("Europe/Paris", nights("01:00", "05:00"));
  it.each([
    ["2026-11-24T00:00:00Z", true],
    ["2026-11-23T23:59:59Z", false],
    ["2026-11-24T03:59:59Z", true],
    ["2026-11-24T04:00:00Z", false],
    // Summer time: two hours ahead.
    ["2026-07-01T23:00:00Z", true],
    ["2026-07-02T03:00:00Z", false],
  ])("in Paris, 01:00 to 05:00, at %s: open %s", (iso, open) => {
    expect(mustWait(paris, at(iso)) === undefined).toBe(open);
  });
  it("says why it is closed and when it opens", () => {
    const waiting = mustWait(paris, at("2026-11-24T12:00:00Z"));
    expect(waiting).toEqual({
      code: "window",
      why: "the install window (Europe/Paris) is closed and opens at 2026-11-25T00:00:00.000Z",
      untilMs: Date.parse("2026-11-25T00:00:00Z"),
    });
  });

  // 2026-11-27 is a Friday.
  const weekend = inZone("UTC", nights("22:00", "04:00", ["fri"]));
  it.each([
    ["2026-11-27T21:59:00Z", false],
    ["2026-11-27T22:00:00Z", true],
    ["2026-11-28T03:59:00Z", true],
    ["2026-11-28T04:00:00Z", false],
    ["2026-11-28T22:30:00Z", false],
    ["2026-11-27T01:00:00Z", false],
  ])("over midnight belongs to the day on which it opens, at %s: open %s", (iso, open) => {
    expect(mustWait(weekend, at(iso)) === undefined).toBe(open);
  });
  it("wraps over the end of the week", () => {
    const sunday = inZone("UTC", nights("23:00", "02:00", ["sun"]));
    expect(mustWait(sunday, at("2026-11-30T01:00:00Z"))).toBeUndefined();
    expect(mustWait(sunday, at("2026-11-30T02:00:00Z"))?.untilMs).toBe(
      Date.parse("2026-12-06T23:00:00Z"),
    );
  });
  it("may be a whole day", () => {
    const saturday = inZone("UTC", nights("00:00", "24:00", ["sat"]));
    expect(mustWait(saturday, at("2026-11-28T23:59:00Z"))).toBeUndefined();
    expect(mustWait(saturday, at("2026-11-29T00:00:00Z"))).toMatchObject({ code: "window" });
  });

  // Europe/Paris, 2026: 02:00 → 03:00 on March 29, 03:00 → 02:00 on October 25.
  const early = inZone("Europe/Paris", nights("02:15", "02:45"));
  it("inside the hour that spring skips opens a day later", () => {
    const waiting = mustWait(early, at("2026-03-29T00:00:00Z"));
    expect(waiting?.untilMs).toBe(Date.parse("2026-03-30T00:15:00Z"));
    expect(mustWait(early, at("2026-03-29T01:20:00Z"))).toMatchObject({ code: "window" });
  });
  it("inside the hour that autumn repeats opens twice", () => {
    expect(mustWait(early, at("2026-10-25T00:20:00Z"))).toBeUndefined();
    expect(mustWait(early, at("2026-10-25T00:50:00Z"))?.untilMs).toBe(
      Date.parse("2026-10-25T01:15:00Z"),
    );
    expect(mustWait(early, at("2026-10-25T01:20:00Z"))).toBeUndefined();
  });
  it("that only a skipped hour of one week would open is found in the week after", () => {
    const sundays = inZone("Europe/Paris", nights("02:15", "02:45", ["sun"]));
    expect(mustWait(sundays, at("2026-03-28T12:00:00Z"))?.untilMs).toBe(
      Date.parse("2026-04-05T00:15:00Z"),
    );
  });
  it("is read in zones of half and quarter hours", () => {
    const kathmandu = inZone("Asia/Kathmandu", nights("01:00", "01:01"));
    expect(mustWait(kathmandu, at("2026-11-24T12:00:00Z"))?.untilMs).toBe(
      Date.parse("2026-11-24T19:15:00Z"),
    );
    expect(mustWait(kathmandu, at("2026-11-24T19:15:30Z"))).toBeUndefined();
  });
});

describe("a clock that is not trusted", () => {
  const paris = inZone("Europe/Paris", nights("01:00", "05:00"));
  it("opens no window by itself, and the reason names the believed time", () => {
    const waiting = mustWait(paris, at("2026-11-24T02:00:00Z", false));
    expect(waiting).toMatchObject({ code: "window", untilMs: null });
    expect(waiting?.why).toContain("2026-11-24T02:00:00.000Z");
  });
  it("keeps nobody waiting longer than a week by the monotonic clock", () => {
    const now = { ms: 0, known: false };
    expect(mustWait(paris, given({ now, waitedMs: patienceMs - 1 }))).toBeDefined();
    expect(mustWait(paris, given({ now, waitedMs: patienceMs }))).toBeUndefined();
  });
  it("is the same as a zone without rules", () => {
    const nowhere = inZone("Nowhere/Land", nights("00:00", "24:00"));
    expect(mustWait(nowhere, given())).toMatchObject({ code: "window" });
    expect(mustWait(nowhere, given({ waitedMs: patienceMs }))).toBeUndefined();
  });
  it("does not shorten the wait of a clock that is", () => {
    expect(mustWait(paris, { ...at("2026-11-24T12:00:00Z"), waitedMs: patienceMs })).toBeDefined();
  });
});

describe("a battery floor", () => {
  const half: InstallPolicy = { ...installAlways, batteryFractionMin: 0.5 };
  it.each([
    [{ source: "battery", fraction: 0.49 }, false],
    [{ source: "battery", fraction: 0.5 }, true],
    [{ source: "battery", fraction: null }, false],
    [{ source: "mains", fraction: 0.1 }, true],
    [{ source: "mains", fraction: null }, true],
    [{ source: "unknown", fraction: null }, true],
  ] as const)("of one half, with %o: allowed %s", (power, allowed) => {
    expect(mustWait(half, given({ power })) === undefined).toBe(allowed);
  });
  it("of nothing asks nothing", () => {
    const power = { source: "battery", fraction: null } as const;
    expect(mustWait(installAlways, given({ power }))).toBeUndefined();
  });
  it("says what is there and what is asked", () => {
    const power = { source: "battery", fraction: 0.31 } as const;
    expect(mustWait(half, given({ power }))?.why).toBe(
      "on battery with 31 %; installs need 50 % or mains",
    );
  });
});

describe("a hold", () => {
  it("comes before everything, also before a week of patience", () => {
    const waiting = mustWait(installAlways, given({ held: "recall", waitedMs: 2 * patienceMs }));
    expect(waiting).toEqual({ code: "hold", why: "installs are held: recall", untilMs: null });
  });
});

describe("a region's policy", () => {
  const region = (text: string) =>
    parseRegions(`regions: [{ name: eu, title: t, link: { kind: lan }, ${text} }]`);
  it("allows everything when nothing is said", () => {
    expect(region("timeZone: UTC")[0]?.install).toEqual({ windows: [], batteryFractionMin: 0 });
  });
  it("reads windows and a floor", () => {
    const text = `timeZone: Europe/Paris,
      install: { windows: [{ days: [mon], from: "01:00", to: "05:00" }], batteryFractionMin: 0.5 }`;
    expect(region(text)[0]?.install).toEqual({
      windows: [{ days: ["mon"], from: "01:00", to: "05:00" }],
      batteryFractionMin: 0.5,
    });
  });
  it.each([
    ["a zone that does not exist", "timeZone: Europe/Nowhere"],
    ["a window without a zone", 'install: { windows: [{ from: "01:00", to: "05:00" }] }'],
    ["no length", 'timeZone: UTC, install: { windows: [{ from: "01:00", to: "01:00" }] }'],
    [
      "a time that no clock shows",
      'timeZone: UTC, install: { windows: [{ from: "25:00", to: "01:00" }] }',
    ],
    ["a floor above full", "timeZone: UTC, install: { batteryFractionMin: 50 }"],
    ["a field that is misspelt", "timeZone: UTC, install: { window: [] }"],
  ])("refuses %s", (_what, text) => {
    expect(() => region(text)).toThrow(expect.objectContaining({ code: "config-invalid" }));
  });
});
