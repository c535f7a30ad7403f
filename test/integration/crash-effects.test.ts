/**
 * A sample of the effects harness: the whole enumeration is `npm run bench -- crash`. Whole agents and a
 * whole controller, with ports that lose power, lie and fail.
 */
import { beforeAll, expect, it } from "vitest";
import type { CrashCase } from "../../scripts/bench/crash/effects/cases.ts";
import { faultCatches } from "../../scripts/bench/crash/effects/part.ts";
import { plantedFaults } from "../../scripts/bench/crash/effects/planted-faults.ts";
import { enumerateCases, replayCase } from "../../scripts/bench/crash/effects/run-cases.ts";
import { makeCrashState } from "../../scripts/bench/crash/effects/start-state.ts";
import type { StartState } from "../../scripts/simulate/world/start-state.ts";

/** A prime, so that the sample meets every kind of disturbance at other effects. */
const sampleStep = 47;

let start: StartState;
let cases: CrashCase[];

beforeAll(async () => {
  start = await makeCrashState();
  cases = await enumerateCases(start);
});

it("a device survives a sample of all disturbances of an update", async () => {
  expect(cases.length).toBeGreaterThan(1_000);
  for (const one of cases.filter((_, index) => index % sampleStep === 0)) {
    const { ending } = await replayCase(start, one);
    expect(ending.broken, `${one.kind} at ${one.at}`).toEqual([]);
  }
});

it.each(plantedFaults)("the harness sees $name by $caughtBy", async (fault) => {
  const { caught } = await faultCatches(fault, { step: 5, firstOnly: true });
  expect(caught).toBe(1);
});

it("replays one and the same update every time", async () => {
  const again = await enumerateCases(start);
  expect(again.map(({ kind, at }) => `${kind} ${at}`)).toEqual(
    cases.map(({ kind, at }) => `${kind} ${at}`),
  );
});
