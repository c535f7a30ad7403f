/**
 * The controller program: reads its flags, constructs the real ports, runs until it is told to stop.
 *
 *   node controller/main.ts --data-dir /var/lib/fleetfit --config-dir /etc/fleetfit
 */
import { parseArgs } from "node:util";
import { pinoLog } from "../shared/adapters/pino-log.ts";
import { onnxruntimeVersion } from "../shared/adapters/runtime-facts.ts";
import { systemClock } from "../shared/adapters/system-clock.ts";
import { systemFiles } from "../shared/adapters/system-files.ts";
import { connectSystemMqtt } from "../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../shared/adapters/system-processes.ts";
import { systemRandom } from "../shared/adapters/system-random.ts";
import { openSystemSqlite } from "../shared/adapters/system-sqlite.ts";
import { isFleetError } from "../shared/errors.ts";
import { startEmbeddedBroker } from "./broker/embedded-broker.ts";
import { runController } from "./controller.ts";
import { startHttp } from "./http/server.ts";
import { loadSettings } from "./settings.ts";

const usage = `Usage: node controller/main.ts --data-dir DIR [options]

  --data-dir DIR             where the controller keeps everything
  --config-dir DIR           controller.yaml with any setting, and classes.yaml, regions.yaml,
                             recipes.yaml (built-in ones otherwise)
  --host ADDRESS             address of both listeners (127.0.0.1)
  --public-name NAME         host name or address that devices use; may be repeated
  --http-port N              port of the API (8700; 0: any free one)
  --http-cert FILE           certificate of the API (PEM); without one it stays on loopback
  --http-key FILE            its private key (PEM)
  --mqtt-port N              port of the TLS broker (8883; 0: any free one)
  --telemetry-window-ms N    length of telemetry windows (300000)
  --log-level LEVEL          debug, info, warn or error (info)

Each setting may also stand in the environment, as FLEETFIT_MQTT_PORT for mqttPort, or in
controller.yaml; flags win over the environment, the environment over the file.

Example: node controller/main.ts --data-dir ./data --config-dir ./config
`;

const flags = {
  "data-dir": { type: "string" },
  "config-dir": { type: "string" },
  host: { type: "string" },
  "public-name": { type: "string", multiple: true },
  "http-port": { type: "string" },
  "http-cert": { type: "string" },
  "http-key": { type: "string" },
  "mqtt-port": { type: "string" },
  "telemetry-window-ms": { type: "string" },
  "log-level": { type: "string", default: "info" },
  help: { type: "boolean", default: false },
} as const;

const values = readFlags();
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

const log = pinoLog({ level: values["log-level"], name: "controller" });
try {
  const config = await loadSettings(systemFiles(), {
    flags: {
      dataDir: values["data-dir"],
      configDir: values["config-dir"],
      host: values.host,
      publicNames: values["public-name"],
      httpPort: values["http-port"],
      httpCertFile: values["http-cert"],
      httpKeyFile: values["http-key"],
      mqttPort: values["mqtt-port"],
      telemetryWindowMs: values["telemetry-window-ms"],
    },
    environment: process.env,
    onnxruntime: onnxruntimeVersion(),
  });
  const controller = await runController(
    {
      clock: systemClock(),
      random: systemRandom(),
      files: systemFiles(),
      openSqlite: openSystemSqlite,
      connectMqtt: connectSystemMqtt,
      processes: systemProcesses(),
      log,
      startBroker: startEmbeddedBroker,
      startHttp,
    },
    config,
  );
  log.info("listening", { httpUrl: controller.httpUrl, mqttUrl: controller.mqttUrl });
  const stop = () => {
    void controller.stop().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
} catch (error) {
  if (!isFleetError(error)) throw error;
  if (error.code === "config-invalid") {
    process.stderr.write(`config-invalid: ${error.remedy}\n${error.message}\n`);
    process.exit(2);
  }
  log.error(error.message, { code: error.code, remedy: error.remedy });
  process.exit(1);
}

function readFlags() {
  try {
    return parseArgs({ options: flags }).values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}
