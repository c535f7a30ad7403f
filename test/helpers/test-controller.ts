/** A whole controller in this process with the real ports, in a folder of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedBroker } from "../../controller/broker/embedded-broker.ts";
import { type ControllerConfig, controllerConfigSchema } from "../../controller/config.ts";
import type { ControllerPorts } from "../../controller/context.ts";
import { type RunningController, runController } from "../../controller/controller.ts";
import { startHttp } from "../../controller/http/server.ts";
import { onnxruntimeVersion } from "../../shared/adapters/runtime-facts.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { connectSystemMqtt } from "../../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { systemRandom } from "../../shared/adapters/system-random.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import type { Log } from "../../shared/ports/log.ts";

const silent: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silent,
};

export function realPorts(): ControllerPorts {
  return {
    clock: systemClock(),
    random: systemRandom(),
    files: systemFiles(),
    openSqlite: openSystemSqlite,
    connectMqtt: connectSystemMqtt,
    processes: systemProcesses(),
    log: silent,
    startBroker: startEmbeddedBroker,
  };
}

export function startTestController(
  dataDir: string,
  change: { config?: Partial<ControllerConfig>; ports?: Partial<ControllerPorts> } = {},
): Promise<RunningController> {
  const config = controllerConfigSchema.parse({
    canarySoakMs: 0,
    dataDir,
    onnxruntime: onnxruntimeVersion(),
    httpPort: 0,
    mqttPort: 0,
    ...change.config,
  });
  return runController({ ...realPorts(), startHttp, ...change.ports }, config);
}

/** A folder that is removed by the returned function. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-test-"));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
