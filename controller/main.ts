/**
 * The controller program: reads its flags, constructs the real ports, runs until it is told to stop.
 *
 *   node controller/main.ts --data-dir /var/lib/fleetfit --config-dir /etc/fleetfit
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
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
import { controllerConfigSchema } from "./config.ts";
import { runController } from "./controller.ts";

const usage = `Usage: node controller/main.ts --data-dir DIR [options]

  --data-dir DIR             where the controller keeps everything
  --config-dir DIR           classes.yaml, regions.yaml, recipes.yaml (built-in ones otherwise)
  --host ADDRESS             address of both listeners (127.0.0.1)
  --public-name NAME         host name or address that devices use; may be repeated
  --http-port N              port of the API (8700; 0: any free one)
  --http-cert FILE           certificate of the API (PEM); without one it stays on loopback
  --http-key FILE            its private key (PEM)
  --mqtt-port N              port of the TLS broker (8883; 0: any free one)
  --telemetry-window-ms N    length of telemetry windows (300000)
  --log-level LEVEL          debug, info, warn or error (info)

Example: node controller/main.ts --data-dir ./data --config-dir ./config
`;

const { values } = parseArgs({
  options: {
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
  },
});
if (values.help || values["data-dir"] === undefined) {
  process.stdout.write(usage);
  process.exit(values.help ? 0 : 2);
}

const log = pinoLog({ level: values["log-level"], name: "controller" });
const parsed = controllerConfigSchema.safeParse({
  dataDir: resolve(values["data-dir"]),
  onnxruntime: onnxruntimeVersion(),
  ...(values["config-dir"] && { configDir: resolve(values["config-dir"]) }),
  ...(values.host && { host: values.host }),
  ...(values["public-name"] && { publicNames: values["public-name"] }),
  ...(values["http-port"] && { httpPort: Number(values["http-port"]) }),
  ...(values["http-cert"] && { httpCertFile: resolve(values["http-cert"]) }),
  ...(values["http-key"] && { httpKeyFile: resolve(values["http-key"]) }),
  ...(values["mqtt-port"] && { mqttPort: Number(values["mqtt-port"]) }),
  ...(values["telemetry-window-ms"] && {
    telemetryWindowMs: Number(values["telemetry-window-ms"]),
  }),
});
if (!parsed.success) {
  process.stderr.write(`config-invalid: ${z.prettifyError(parsed.error)}\n`);
  process.exit(2);
}
try {
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
    },
    parsed.data,
  );
  log.info("listening", { httpUrl: controller.httpUrl, mqttUrl: controller.mqttUrl });
  const stop = () => {
    void controller.stop().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
} catch (error) {
  if (!isFleetError(error)) throw error;
  log.error(error.message, { code: error.code, remedy: error.remedy });
  process.exit(1);
}
