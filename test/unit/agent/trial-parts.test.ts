/** Parts of a trial: what the machine says of itself, energy counters, looks that are counted, pauses. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lowBattery, readMachine, unfitBetween } from "../../../agent/trial/environment.ts";
import { looksMax, pauseAfter } from "../../../agent/trial/resources.ts";
import { verdictOf } from "../../../agent/trial/verdict.ts";
import { findEnergyCounter, spentBetween } from "../../../shared/inference/energy.ts";
import type { Files } from "../../../shared/ports/files.ts";
import { type AgentFolder, agentFolder } from "../../helpers/agent-context.ts";

/** Only these files exist, as in /proc and /sys. */
function systemOf(texts: Record<string, string>): Files {
  const missing = () => Promise.reject(Object.assign(new Error("none"), { code: "ENOENT" }));
  return {
    readRange: async (path: string) =>
      path in texts ? new TextEncoder().encode(texts[path]) : missing(),
    list: async (path: string) => [
      ...new Set(
        Object.keys(texts)
          .filter((name) => name.startsWith(`${path}/`))
          .map((name) => name.slice(path.length + 1).split("/")[0]!),
      ),
    ],
  } as Partial<Files> as Files;
}

describe("the machine", () => {
  const zone = (celsius: number) => ({
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": `${celsius * 1000}\n`,
    "/sys/class/thermal/thermal_zone0/trip_point_0_type": "active\n",
    "/sys/class/thermal/thermal_zone0/trip_point_0_temp": "40000\n",
    "/sys/class/thermal/thermal_zone0/trip_point_1_type": "passive\n",
    "/sys/class/thermal/thermal_zone0/trip_point_1_temp": "80000\n",
  });
  const firmware = "/sys/devices/platform/soc/soc:firmware/get_throttled";

  it("that tells nothing is not accused", async () => {
    const state = await readMachine(systemOf({}), 4);
    expect(state).toEqual({ loadPerCore: undefined, throttled: undefined, throttleCount: 0 });
    expect(unfitBetween(state, state)).toBeUndefined();
  });
  it("tells its load per core", async () => {
    const files = systemOf({ "/proc/loadavg": "1.50 0.30 0.20 1/99 123\n" });
    expect((await readMachine(files, 4)).loadPerCore).toBeCloseTo(0.375, 9);
  });
  it.each([
    ["cool", zone(60), undefined],
    ["at its passive limit", zone(81), /cpu-thermal is at 81 °C, its passive limit is 80 °C/],
    ["throttled by its firmware", { [firmware]: "50005\n" }, /firmware slows/],
    ["throttled in the past", { [firmware]: "50000\n" }, undefined],
  ])("%s", async (_what, texts: Record<string, string>, why) => {
    const state = await readMachine(systemOf(texts), 1);
    if (why === undefined) expect(unfitBetween(state, state)).toBeUndefined();
    else expect(unfitBetween(state, state)).toMatch(why);
  });
  it("that throttled meanwhile spoils the measurement", async () => {
    const count = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count";
    const before = await readMachine(systemOf({ [count]: "7\n" }), 1);
    const after = await readMachine(systemOf({ [count]: "9\n" }), 1);
    expect(unfitBetween(before, after)).toMatch(/throttled 2 times/);
    expect(unfitBetween(before, before)).toBeUndefined();
  });
});

it("a low battery spoils a measurement, a full one and mains do not", () => {
  expect(lowBattery({ source: "battery", fraction: 0.1 })).toMatch(/battery is at 10 %/);
  expect(lowBattery({ source: "battery", fraction: 0.5 })).toBeUndefined();
  expect(lowBattery({ source: "battery", fraction: null })).toBeUndefined();
  expect(lowBattery({ source: "mains", fraction: 0.1 })).toBeUndefined();
});

describe("energy", () => {
  it("is counted by RAPL, over the counter's end", async () => {
    const zone = "/sys/class/powercap/intel-rapl:0";
    const files = systemOf({
      [`${zone}/energy_uj`]: "900\n",
      [`${zone}/max_energy_range_uj`]: "1000\n",
    });
    const counter = await findEnergyCounter(files);
    expect(counter).toMatchObject({ source: "rapl", rangeMicrojoules: 1000 });
    expect(await counter!.read()).toBe(900);
    expect(spentBetween(900, 950, 1000)).toBe(50);
    expect(spentBetween(900, 100, 1000)).toBe(200);
    expect(spentBetween(900, 100, undefined)).toBeNaN();
  });
  it("is counted by a sensor, else by nobody", async () => {
    const sensor = { "/sys/class/hwmon/hwmon3/energy1_input": "12\n" };
    expect(await findEnergyCounter(systemOf(sensor))).toMatchObject({ source: "hwmon" });
    expect(await findEnergyCounter(systemOf({}))).toBeUndefined();
  });
});

describe("looks", () => {
  let home: AgentFolder;
  beforeEach(() => {
    home = agentFolder();
  });
  afterEach(() => home.remove());

  it("at the latency are counted over restarts, and end", () => {
    home.open().store.addAttempt({ id: "a-1", model: "m", manifestJson: "{}", state: "idle" });
    const looks = Array.from({ length: looksMax }, () => home.open().store.beginLook("a-1"));
    expect(looks).toEqual([1, 2, 3, 4]);
    expect(looks.map(pauseAfter).filter((pause) => pause === undefined)).toHaveLength(1);
    expect(pauseAfter(looksMax)).toBeUndefined();
  });
  it("at one shard count once, also after a power cut; those at several add up", () => {
    const look = (shardSha256: string, worse: number, better: number) =>
      home
        .open()
        .store.addPairedLook({ freshSha256: "f", oldSha256: "o", shardSha256, worse, better });
    expect(look("one", 7, 2)).toEqual({ shards: 1, worse: 7, better: 2 });
    expect(look("one", 9, 0)).toEqual({ shards: 1, worse: 7, better: 2 });
    expect(look("two", 1, 4)).toEqual({ shards: 2, worse: 8, better: 6 });
    const other = { freshSha256: "f", oldSha256: "p", shardSha256: "one" };
    expect(home.open().store.addPairedLook({ ...other, worse: 0, better: 0 }).shards).toBe(1);
  });
});

describe("a verdict", () => {
  const gate = (verdict: "pass" | "fail" | "inconclusive") =>
    ({ gate: "latency", verdict, why: "", numbers: {} }) as const;
  it.each([
    ["commit", ["pass", "inconclusive"], false],
    ["roll-back", ["pass", "inconclusive"], true],
    ["roll-back", ["pass"], false],
    ["commit", ["inconclusive", "fail"], true],
  ] as const)("with %s on what stays open: %s", (rule, verdicts, fails) => {
    expect(verdictOf(verdicts.map(gate), rule).failed !== undefined).toBe(fails);
  });
});
