/**
 * A whole fleet in virtual time: the real agent and controller, seeded faults, checkers that read disks
 * and databases. A failing seed prints the command that repeats it. With --real-time the same agents meet a
 * real broker and a real controller instead.
 *
 *   npm run simulate -- --devices 100 --seeds 1..20 --mix all --release healthy
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { makeFleetState } from "./fleet/fleet-state.ts";
import { type MixName, mixes } from "./fleet/mixes.ts";
import { type OperatorName, operators } from "./fleet/operators.ts";
import { type ReleaseName, releases } from "./fleet/releases.ts";
import { repeatCommand } from "./fleet/repeat.ts";
import { runSeed, type SeedOrder, type SeedResult } from "./fleet/run-seed.ts";
import { makeFleetStart } from "./fleet/start.ts";
import { runLoad } from "./load/run-load.ts";

const loadDevicesMax = 2_000;
const list = (table: object) => Object.keys(table).join(", ");
const usage = `Usage: npm run simulate -- [options]

In virtual time:
  --devices N       devices of the fleet (20)
  --seeds A..B      seeds to run, or a single one (1..5)
  --mix NAME        faults: ${list(mixes)} (all)
  --release NAME    ${list(releases)} (healthy)
  --operator NAME   who promotes where the rollout waits: ${list(operators)} (trusting)
  --json            one JSON object per seed, and nothing else, on standard output

In real time, against a real controller and its broker on this machine:
  --real-time       instead of seeds; faults and releases are not for it
  --devices N       2,000 at most
  --minutes M       length of the measured time, 120 at most (1)
  --rate R          telemetry windows per second of all devices together (20)

Examples:
  npm run simulate -- --devices 100 --seeds 7 --mix power --release crash
  npm run simulate -- --devices 100 --seeds 1..200 --mix service --release hang-live --json
  npm run simulate -- --devices 1600 --seeds 1..3 --release drop-20 --operator absent
  npm run simulate -- --real-time --devices 200 --minutes 5 --rate 50

Ends with 1 when a checker found something or a release that breaks every device left the canary;
in real time, when an attempt has no outcome or more than one.
`;

const text = (usual: string) => ({ type: "string", default: usual }) as const;
const { values } = parseArgs({
  options: {
    devices: text("20"),
    seeds: text("1..5"),
    mix: text("all"),
    release: text("healthy"),
    operator: text("trusting"),
    "real-time": { type: "boolean", default: false },
    minutes: text("1"),
    rate: text("20"),
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const nameIn = <Name extends string>(table: Record<Name, unknown>) =>
  z.enum(Object.keys(table) as [Name, ...Name[]]);
const parsed = z
  .object({
    devices: z.coerce.number().int().min(1).max(100_000),
    seeds: z
      .string()
      .regex(/^\d{1,9}(\.\.\d{1,9})?$/, "A..B or a single number")
      .transform((range) => range.split("..").map(Number)),
    mix: nameIn<MixName>(mixes),
    release: nameIn<ReleaseName>(releases),
    operator: nameIn<OperatorName>(operators),
    "real-time": z.boolean(),
    minutes: z.coerce.number().gt(0).max(120),
    rate: z.coerce.number().gt(0).max(10_000),
  })
  .refine(
    (given) => !given["real-time"] || given.devices <= loadDevicesMax,
    `in real time one process holds ${loadDevicesMax} devices at most`,
  )
  .safeParse(values);
if (values.help || !parsed.success) {
  const complaint = parsed.success || values.help ? "" : `${z.prettifyError(parsed.error)}\n\n`;
  (values.help ? process.stdout : process.stderr).write(complaint + usage);
  process.exit(values.help ? 0 : 2);
}
process.exitCode = parsed.data["real-time"]
  ? await runReal(parsed.data)
  : await runSeeds(parsed.data);

async function runReal(options: {
  devices: number;
  minutes: number;
  rate: number;
}): Promise<number> {
  const { faults, ...result } = await runLoad({ ...options, say: tell });
  tell("");
  if (values.json) console.log(JSON.stringify({ ...result, faults }));
  else {
    const { devices, seconds, rollouts, updates, sent, received } = result;
    const ms = (value: number | null) => (value === null ? "none" : `${value.toFixed(1)} ms`);
    console.log(`${devices} devices, ${rollouts} rollouts, ${updates} updates in ${seconds.toFixed(1)} s
messages     ${sent} sent, ${received} received, ${result.messagesPerSecond.toFixed(1)} per second
acks         p50 ${ms(result.ackP50Ms)}, p99 ${ms(result.ackP99Ms)}
controller   ${(result.controllerCpuShare * 100).toFixed(1)} % of a core, ${(result.controllerRssPeakBytes / 2 ** 20).toFixed(0)} MiB at most
outcomes     ${result.lost} lost, ${result.doubled} doubled`);
  }
  for (const fault of faults) console.error(fault);
  return result.lost + result.doubled + faults.length === 0 ? 0 : 1;
}

async function runSeeds(options: {
  devices: number;
  seeds: number[];
  mix: MixName;
  release: ReleaseName;
  operator: OperatorName;
}): Promise<number> {
  const { devices, seeds, mix, release, operator } = options;
  const [from = 1, to = from] = seeds;
  const startedMs = performance.now();
  tell(`preparing ${devices} devices`);
  const fleet = await makeFleetState(await makeFleetStart(devices), devices);
  const begunMs = performance.now();
  let failed = 0;
  let decided = 0;
  for (let seed = from; seed <= to; seed++) {
    tell(`seed ${seed}, ${seed - from} of ${to - from + 1} done, ${failed} failed`);
    const order = { seed, mix, release, operator };
    const result = await runSeed(fleet, order);
    decided += result.decided;
    if (!show(devices, order, result)) failed++;
  }
  const seconds = (performance.now() - begunMs) / 1_000;
  tell("");
  if (values.json) return failed === 0 ? 0 : 1;
  console.log(
    `${decided} device-updates in ${seconds.toFixed(1)} s (${(decided / seconds).toFixed(1)} per second) after ${((begunMs - startedMs) / 1_000).toFixed(1)} s of preparation, ${failed} seeds failed`,
  );
  return failed === 0 ? 0 : 1;
}

/** Says how a seed ended; false when something does not hold. */
function show(devices: number, order: SeedOrder, result: SeedResult): boolean {
  const { status, committed, decided, tookMs, reason, faults, leftCanary } = result;
  const wrong = [...faults, ...(leftCanary ? [`${order.release} left the canary`] : [])];
  const repeat = repeatCommand(devices, order);
  tell("");
  if (values.json) console.log(JSON.stringify({ ...order, ...result, repeat }));
  else {
    const minutes = (tookMs / 60_000).toFixed(1);
    console.log(
      `seed ${order.seed}: ${status}, ${committed} of ${devices} committed, ${decided} decided, ${minutes} min: ${reason}`,
    );
  }
  for (const each of wrong) console.error(`  ${each}`);
  if (wrong.length > 0) console.error(`  repeat: ${repeat}`);
  return wrong.length === 0;
}

/** One line that the next one replaces, for people alone. */
function tell(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}
