/**
 * A sample of the effects harness: the whole enumeration is `npm run bench -- crash`. Whole agents and a
 * whole controller, with ports that lose power, lie and fail.
 */
import { beforeAll, expect, it } from "vitest";
import type { CrashCase } from "../../scripts/bench/crash/effects/cases.ts";
import {
  doubleCases,
  enrolmentCases,
  serverCases,
} from "../../scripts/bench/crash/effects/further-cases.ts";
import { faultCatches } from "../../scripts/bench/crash/effects/part.ts";
import { plantedFaults } from "../../scripts/bench/crash/effects/planted-faults.ts";
import { enumerateCases, replayCase } from "../../scripts/bench/crash/effects/run-cases.ts";
import { makeCrashState } from "../../scripts/bench/crash/effects/start-state.ts";
import type { StartState } from "../../scripts/simulate/world/start-state.ts";

/** Primes, so that a sample meets every kind of disturbance at other effects. */
const sampleStep = 47;
const enrolmentStep = 131;
const serverStep = 59;
const doubles = 8;

let start: StartState;
let cases: CrashCase[];

beforeAll(async () => {
  start = await makeCrashState();
  cases = await enumerateCases(start);
});

async function expectSurvival(sample: readonly CrashCase[]): Promise<void> {
  for (const one of sample) {
    const { ending } = await replayCase(start, one);
    expect(ending.broken, `${one.kind} at ${one.at}`).toEqual([]);
  }
}

it("a device survives a sample of all disturbances of an update", async () => {
  expect(cases.length).toBeGreaterThan(1_000);
  await expectSurvival(cases.filter((_, index) => index % sampleStep === 0));
});

it("a device survives a sample of all cuts of its first enrolment", async () => {
  const enrolments = await enrolmentCases(start);
  expect(enrolments.length).toBeGreaterThan(1_000);
  await expectSurvival(enrolments.filter((_, index) => index % enrolmentStep === 0));
});

it("a device has a model and one outcome after a sample of cuts of the controller", async () => {
  const cuts = await serverCases(start);
  expect(cuts.length).toBeGreaterThan(400);
  await expectSurvival(cuts.filter((_, index) => index % serverStep === 0));
});

it("a device survives power that is lost again while it recovers", async () => {
  await expectSurvival(await doubleCases(start, doubles));
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
