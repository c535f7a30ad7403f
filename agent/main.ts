/**
 * The agent program: reads its flags, constructs the real ports, runs until it is told to stop.
 *
 *   node agent/main.ts --data-dir /var/lib/fleetfit --claim claim.txt
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { pinoLog } from "../shared/adapters/pino-log.ts";
import { executionProviders, onnxruntimeVersion } from "../shared/adapters/runtime-facts.ts";
import { systemClock } from "../shared/adapters/system-clock.ts";
import { systemFiles } from "../shared/adapters/system-files.ts";
import { connectSystemMqtt } from "../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../shared/adapters/system-processes.ts";
import { systemRandom } from "../shared/adapters/system-random.ts";
import { openSystemSqlite } from "../shared/adapters/system-sqlite.ts";
import { FleetError, isFleetError } from "../shared/errors.ts";
import { runAgent } from "./agent.ts";
import { parseAgentConfig } from "./config.ts";
import { systemInventory } from "./probe/system-inventory.ts";
import { startInferenceApi } from "./serving/http.ts";

const usage = `Usage: node agent/main.ts --data-dir DIR [options]

  --data-dir DIR           where the agent keeps its state
  --claim FILE             claim token, needed once, to enrol
  --serve-port N           port of the local inference API on loopback (0: any free one)
  --profile-override FILE  declared hardware as JSON; the device then says emulated: true
  --log-level LEVEL        debug, info, warn or error (info)

Example: node agent/main.ts --data-dir /var/lib/fleetfit --claim claim.txt --serve-port 8600
`;

/** Errors: `config-invalid`. */
function read(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new FleetError("config-invalid", `cannot read ${path}: ${String(cause)}`, { cause });
  }
}

const { values } = parseArgs({
  options: {
    "data-dir": { type: "string" },
    claim: { type: "string" },
    "serve-port": { type: "string", default: "0" },
    "profile-override": { type: "string" },
    "log-level": { type: "string", default: "info" },
    help: { type: "boolean", default: false },
  },
});
if (values.help || values["data-dir"] === undefined) {
  process.stdout.write(usage);
  process.exit(values.help ? 0 : 2);
}

// The data folder holds this device's password and private key: for its owner alone.
process.umask(0o077);
const log = pinoLog({ level: values["log-level"], name: "agent" });
try {
  const config = parseAgentConfig({
    dataDir: resolve(values["data-dir"]),
    servePort: Number(values["serve-port"]),
    ...(values.claim && { claimToken: new TextDecoder().decode(read(values.claim)) }),
    ...(values["profile-override"] && { profileOverride: read(values["profile-override"]) }),
  });
  const agent = await runAgent(
    {
      clock: systemClock(),
      random: systemRandom(),
      files: systemFiles(),
      openSqlite: openSystemSqlite,
      connectMqtt: connectSystemMqtt,
      processes: systemProcesses(),
      log,
      startInferenceApi,
      inventory: await systemInventory({
        onnxruntime: onnxruntimeVersion(),
        providers: executionProviders(),
      }),
    },
    config,
  );
  log.info("serving", { device: agent.device, url: agent.serveUrl });
  const stop = () => {
    void agent.stop().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
} catch (error) {
  if (!isFleetError(error)) throw error;
  log.error(error.message, { code: error.code, remedy: error.remedy });
  process.exit(1);
}
