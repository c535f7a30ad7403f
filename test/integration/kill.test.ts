/**
 * SIGKILL of any program at a random moment of an update: twenty seeds, real processes. The seed of a
 * failing try repeats it with `npm run bench -- kill`.
 */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { digitsModel, startDigitsFleet } from "../../scripts/fleet/digits-fleet.ts";
import { killOnce } from "../../scripts/fleet/kill-try.ts";
import type { LocalFleet } from "../../scripts/fleet/local-fleet.ts";

let fleet: LocalFleet;

beforeAll(async () => {
  fleet = await startDigitsFleet(["fp16"]);
}, 180_000);

afterAll(async () => {
  await fleet?.stop();
  if (fleet !== undefined) rmSync(fleet.folder, { recursive: true, force: true });
});

it.each(Array.from({ length: 20 }, (_, index) => index + 1))(
  "seed %i ends with every device on one committed, signed model and one outcome",
  async (seed) => {
    // Versions take turns, so that each try really changes what is served.
    const version = seed % 2 === 1 ? "1" : "2";
    const { faults, victim, afterMs } = await killOnce(fleet, {
      seed,
      model: digitsModel,
      version,
    });
    expect(faults, `${victim} was killed after ${afterMs} ms`).toEqual([]);
  },
);
