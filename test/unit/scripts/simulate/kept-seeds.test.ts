/** A run that was cut off goes on: what is done is not done again, and never taken from other programs. */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import type { Job } from "../../../../scripts/bench/simulate/jobs.ts";
import { keptSeeds } from "../../../../scripts/bench/simulate/kept-seeds.ts";
import type { Ran } from "../../../../scripts/bench/simulate/summary.ts";

const job = (seed: number): Job => ({
  ...{ devices: 100, seed, mix: "all", release: "healthy", operator: "absent" },
});
const ran = (seed: number): Ran => ({
  job: job(seed),
  result: { status: "completed", faults: [] } as unknown as Ran["result"],
  tookMs: 5,
});

function programs(): { root: string; folder: string } {
  const root = mkdtempSync(path.join(tmpdir(), "kept-seeds-"));
  for (const room of ["agent", "controller", "shared", "scripts/simulate"]) {
    mkdirSync(path.join(root, room), { recursive: true });
  }
  writeFileSync(path.join(root, "agent", "agent.ts"), "one");
  writeFileSync(path.join(root, "package-lock.json"), "{}");
  return { root, folder: path.join(root, ".cache") };
}

it("goes on after the seeds that are done, a torn line being none", () => {
  const { root, folder } = programs();
  const first = keptSeeds(root, folder);
  first.add(ran(1));
  first.add(ran(2));
  const [file] = readdirSync(folder);
  appendFileSync(path.join(folder, file!), '{"job":{"seed":3');
  const second = keptSeeds(root, folder);
  expect(second.done).toEqual([ran(1), ran(2)]);
  expect(second.left([1, 2, 3].map(job))).toEqual([job(3)]);
  second.add(ran(3));
  expect(keptSeeds(root, folder).left([1, 2, 3, 4].map(job))).toEqual([job(4)]);
});

it("begins anew with other programs, and after a run that was whole", () => {
  const { root, folder } = programs();
  keptSeeds(root, folder).add(ran(1));
  writeFileSync(path.join(root, "agent", "agent.ts"), "two");
  const changed = keptSeeds(root, folder);
  expect(changed.done).toEqual([]);
  changed.add(ran(2));
  changed.forget();
  expect(keptSeeds(root, folder).done).toEqual([]);
});
