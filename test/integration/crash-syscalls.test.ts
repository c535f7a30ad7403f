/**
 * A power cut between the system calls of an update: a real agent is recorded with strace and boots
 * again on a sample of the disks that a cut could leave. All of them: `npm run bench -- crash`.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cutPoints } from "../../scripts/bench/crash/syscalls/disks.ts";
import { plantedFaults } from "../../scripts/bench/crash/syscalls/faults.ts";
import {
  type Recording,
  recordUpdate,
  whyNoStrace,
} from "../../scripts/bench/crash/syscalls/record.ts";
import { type Replay, replayAll } from "../../scripts/bench/crash/syscalls/replay.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";

const sampleSize = 5;
const reason = whyNoStrace();
const { folder, remove } = temporaryFolder();
let recording: Recording;

async function replays(options: Parameters<typeof replayAll>[1], run = recording) {
  const done: Replay[] = [];
  for await (const replay of replayAll(run, options)) done.push(replay);
  return done;
}

afterAll(remove);

if (reason !== undefined) {
  it(`is not tried here: ${reason}`, () => {
    expect(reason).not.toBe("");
  });
} else {
  describe("a cut between the calls of an update", () => {
    beforeAll(async () => {
      recording = await recordUpdate(folder);
    }, 120_000);

    it("leaves a device that ends on one committed model with one outcome", async () => {
      const all = cutPoints(recording).points;
      const points = all.filter((_, index) => index % Math.ceil(all.length / sampleSize) === 0);
      const done = await replays({ folder, points });
      expect(done.length).toBeGreaterThanOrEqual(sampleSize - 1);
      for (const { point, faults } of done) expect(faults, JSON.stringify(point)).toEqual([]);
    }, 240_000);

    it("would be seen to lose an outcome that was told before it was on the disk", async () => {
      const operations = plantedFaults[0]!.change(recording.operations);
      const point = { after: operations.length, cut: "dropped", server: "told" } as const;
      const done = await replays({ folder, points: [point] }, { ...recording, operations });
      expect(done[0]!.faults.join()).toContain("outcome-kept");
    });
  });
}
