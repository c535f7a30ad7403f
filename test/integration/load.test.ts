/** A few agents with models that compute nothing against a real controller process and its broker. */
import { expect, it } from "vitest";
import { runLoad } from "../../scripts/simulate/load/run-load.ts";

const devices = 3;

it("carries updates of real agents over the real broker, each with one outcome", async () => {
  const result = await runLoad({ devices, minutes: 0.01, rate: 3 });
  expect(result.faults).toEqual([]);
  expect(result).toMatchObject({ lost: 0, doubled: 0, connections: 0 });
  expect(result.updates).toBe(result.rollouts * devices);
  // Each update has at least its outcome and a report, and each message of QoS 1 its ack.
  expect(result.sent).toBeGreaterThan(2 * result.updates);
  expect(result.ackP50Ms).toBeGreaterThan(0);
  expect(result.controllerCpuShare).toBeGreaterThan(0);
}, 300_000);
