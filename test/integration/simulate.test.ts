/** Small fleets in virtual time, a seed each; many seeds and larger fleets are `npm run simulate`. */
import { beforeAll, expect, it } from "vitest";
import { type FleetState, makeFleetState } from "../../scripts/simulate/fleet/fleet-state.ts";
import { runSeed } from "../../scripts/simulate/fleet/run-seed.ts";
import { makeFleetStart } from "../../scripts/simulate/fleet/start.ts";

const devices = 12;
let fleet: FleetState;

beforeAll(async () => {
  fleet = await makeFleetState(await makeFleetStart(devices), devices);
});

it("a healthy release reaches every device through lost messages, power and servers", async () => {
  const { faults, status, committed } = await runSeed(fleet, {
    seed: 5,
    mix: "all",
    release: "healthy",
  });
  expect(faults).toEqual([]);
  expect({ status, committed }).toEqual({ status: "completed", committed: devices });
});

it("a release that crashes on every device never leaves the canary", async () => {
  const { faults, status, committed } = await runSeed(fleet, {
    seed: 6,
    mix: "all",
    release: "crash",
  });
  expect(faults).toEqual([]);
  expect({ status, committed }).toEqual({ status: "stopped", committed: 0 });
});

it("a seed gives the same run every time", async () => {
  const order = { seed: 7, mix: "links", release: "healthy" } as const;
  expect(await runSeed(fleet, order)).toEqual(await runSeed(fleet, order));
});
