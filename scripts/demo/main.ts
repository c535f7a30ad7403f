/**
 * The main job on this machine, with real processes and real data: enrol, compress, measure, choose,
 * roll out, watch, update, survive kills, and take back a bad version. Exit code 0 only when every
 * expectation held.
 *
 *   npm run demo                    in a temporary folder, cleaned up at the end
 *   npm run demo -- --keep          leaves everything running and prints where to look
 *   npm run demo -- --update-readme writes the final table into README.md
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startLocalFleet } from "../fleet/local-fleet.ts";
import { exitOnSignals } from "../fleet/programs.ts";
import { startPlayer } from "./player.ts";
import { writeReadmeTable } from "./readme-table.ts";
import { consoleReporter } from "./reporter.ts";
import { runScenario } from "./scenario.ts";
import { finalTable } from "./table.ts";

/** Short windows, so that the demo sees telemetry within its three minutes. */
const telemetryWindowMs = 5_000;

const { values } = parseArgs({
  options: {
    keep: { type: "boolean", default: false },
    "update-readme": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log("Usage: npm run demo -- [--keep] [--update-readme]");
  process.exit(0);
}

exitOnSignals();
const startedMs = performance.now();
const folder = mkdtempSync(join(tmpdir(), "fleetfit-demo-"));
const reporter = consoleReporter();
console.log(`Fleetfit demo in ${folder}\n`);

const fleet = await reporter.step("start the controller: broker, database, API", async (say) => {
  const configDir = fileURLToPath(new URL("config", import.meta.url));
  const started = await startLocalFleet({ folder, configDir, telemetryWindowMs });
  say(started.httpUrl);
  return started;
});
const player = startPlayer(fleet);
const failure = await runScenario(fleet, reporter).then(
  () => undefined,
  (error: unknown) => error,
);
const table = await finalTable(fleet).catch((error: unknown) => String(error));
console.log(`\n${table}\n`);
if (failure !== undefined) console.error(failure);
if (values["update-readme"] && failure === undefined) await writeReadmeTable(fleet);

const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
const broken = reporter.broken();
const ok = failure === undefined && broken.length === 0;
console.log(
  ok
    ? `All ${reporter.kept()} expectations held, in ${seconds} s.`
    : `${broken.length + (failure === undefined ? 0 : 1)} expectations did not hold:\n- ${[...broken, ...(failure === undefined ? [] : [String(failure)])].join("\n- ")}\nLogs: ${folder}`,
);

if (values.keep) {
  console.log(`\nEverything keeps running; Ctrl-C ends it.
  API        ${fleet.httpUrl}/openapi.json
  token      ${join(folder, "controller", "admin-token")}
  try        npm run fleetfit -- device list --url ${fleet.httpUrl} --token-file ${join(folder, "controller", "admin-token")}`);
  await new Promise((resolve) => process.once("SIGINT", resolve));
}
player.stop();
await fleet.stop();
if (ok) rmSync(folder, { recursive: true, force: true });
process.exit(ok ? 0 : 1);
