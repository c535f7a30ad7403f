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
    operator: "trusting",
  });
  expect(faults).toEqual([]);
  expect({ status, committed }).toEqual({ status: "completed", committed: devices });
});

it("a release that crashes on every device never leaves the canary", async () => {
  const { faults, status, committed } = await runSeed(fleet, {
    seed: 6,
    mix: "all",
    release: "crash",
    operator: "trusting",
  });
  expect(faults).toEqual([]);
  expect({ status, committed }).toEqual({ status: "stopped", committed: 0 });
});

it("a release that crashes on live inputs alone is taken back by the canary and goes no further", async () => {
  const { faults, leftCanary, status, committed, harmMs } = await runSeed(fleet, {
    seed: 2,
    mix: "service",
    release: "crash-live",
    operator: "trusting",
  });
  expect(faults).toEqual([]);
  expect({ status, committed, leftCanary }).toEqual({
    status: "stopped",
    committed: 1,
    leftCanary: false,
  });
  expect(harmMs).toBeGreaterThan(0);
});

it("waits for holds, windows and batteries, and for the person who promotes", async () => {
  const order = { seed: 3, release: "healthy" } as const;
  const held = await runSeed(fleet, { ...order, mix: "windows", operator: "trusting" });
  expect(held.faults).toEqual([]);
  expect(held).toMatchObject({ status: "completed", committed: devices });
  expect(held.tookMs).toBeGreaterThan(120_000);
  const alone = await runSeed(fleet, { ...order, mix: "holds", operator: "absent" });
  expect(alone.faults).toEqual([]);
  expect(alone.status).toBe("awaiting-promotion");
  expect(alone.committed).toBeLessThan(devices / 2);
});

it("a seed gives the same run every time", async () => {
  const order = { seed: 7, mix: "links", release: "healthy", operator: "trusting" } as const;
  expect(await runSeed(fleet, order)).toEqual(await runSeed(fleet, order));
});
