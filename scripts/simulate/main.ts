/**
 * A whole fleet in virtual time: the real agent and controller, seeded faults, checkers that read disks
 * and databases. A failing seed prints the command that repeats it.
 *
 *   npm run simulate -- --devices 100 --seeds 1..20 --mix all --release healthy
 */
import { parseArgs } from "node:util";
import { makeFleetState } from "./fleet/fleet-state.ts";
import { type MixName, mixes, type ReleaseName, releases } from "./fleet/mixes.ts";
import { runSeed } from "./fleet/run-seed.ts";
import { makeFleetStart } from "./fleet/start.ts";

const usage = `Usage: npm run simulate -- [options]

  --devices N       devices of the fleet (20)
  --seeds A..B      seeds to run (1..5)
  --mix NAME        ${Object.keys(mixes).join(", ")} (all)
  --release NAME    ${Object.keys(releases).join(", ")} (healthy)

Example: npm run simulate -- --devices 100 --seeds 7..7 --mix power --release crash
`;

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "20" },
    seeds: { type: "string", default: "1..5" },
    mix: { type: "string", default: "all" },
    release: { type: "string", default: "healthy" },
    help: { type: "boolean", default: false },
  },
});
const [from, to = from] = values.seeds.split("..").map(Number);
const devices = Number(values.devices);
const wrong =
  !Object.hasOwn(mixes, values.mix) ||
  !Object.hasOwn(releases, values.release) ||
  !Number.isInteger(devices) ||
  devices < 1 ||
  !Number.isInteger(from) ||
  !Number.isInteger(to);
if (values.help || wrong || from === undefined || to === undefined) {
  process.stdout.write(usage);
  process.exit(values.help ? 0 : 2);
}

const mix = values.mix as MixName;
const release = values.release as ReleaseName;
const fleet = await makeFleetState(await makeFleetStart(devices), devices);
let failed = 0;
let decided = 0;
const startedMs = performance.now();
for (let seed = from; seed <= to; seed++) {
  const result = await runSeed(fleet, { seed, mix, release });
  decided += result.decided;
  const { status, committed, tookMs, reason, faults } = result;
  console.log(
    `seed ${seed}: ${status}, ${committed} of ${result.decided} committed, ${(tookMs / 60_000).toFixed(1)} min: ${reason}`,
  );
  if (faults.length === 0) continue;
  failed++;
  for (const fault of faults) console.error(`  ${fault}`);
  console.error(
    `  repeat: npm run simulate -- --devices ${devices} --seeds ${seed}..${seed} --mix ${mix} --release ${release}`,
  );
}
const seconds = (performance.now() - startedMs) / 1_000;
console.log(
  `${decided} device-updates in ${seconds.toFixed(1)} s (${(decided / seconds).toFixed(1)} per second), ${failed} seeds failed`,
);
process.exitCode = failed === 0 ? 0 : 1;
