/**
 * A whole fleet on this machine: one controller and its agents as real processes in one folder, with
 * an API client. Used by the demo, the kill tests and the benchmarks.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProfileOverride } from "../../shared/devices/profile.ts";
import { type Api, apiClient } from "./api.ts";
import { freePort, type Program, program, waitFor } from "./programs.ts";

export interface FleetDevice {
  readonly id: string;
  readonly region: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly override?: ProfileOverride;
}

export interface FleetAgent {
  readonly device: FleetDevice;
  readonly dataDir: string;
  readonly program: Program;
}

export interface LocalFleet {
  readonly folder: string;
  readonly httpUrl: string;
  readonly controller: Program;
  readonly agents: FleetAgent[];
  api(): Api;
  /** Starts the controller again and waits until it answers. */
  startController(): Promise<void>;
  /** Claims a token, starts an agent with it and returns at once. */
  addAgent(device: FleetDevice): Promise<FleetAgent>;
  stop(): Promise<void>;
}

/** Folders of other releases of this package; a program without one is this release's. */
export interface Releases {
  readonly controllerRoot?: string;
  readonly agentRoot?: string;
}

/** How long a program may take until it answers, on a busy machine. */
const startTimeoutMs = 60_000;

export async function startLocalFleet(options: {
  folder: string;
  configDir: string;
  telemetryWindowMs: number;
  releases?: Releases;
}): Promise<LocalFleet> {
  const { controllerRoot, agentRoot } = options.releases ?? {};
  const { folder } = options;
  const dataDir = join(folder, "controller");
  mkdirSync(dataDir, { recursive: true });
  const httpPort = await freePort();
  const mqttPort = await freePort();
  const httpUrl = `http://127.0.0.1:${httpPort}`;
  const controller = program({
    name: "controller",
    root: controllerRoot,
    entry: "controller/main.ts",
    args: controllerArgs({ ...options, dataDir, httpPort, mqttPort }),
    logPath: join(folder, "controller.log"),
  });
  const agents: FleetAgent[] = [];
  const api = () =>
    apiClient({ url: httpUrl, token: readFileSync(join(dataDir, "admin-token"), "utf8").trim() });
  const startController = async () => {
    controller.start();
    await waitFor("the controller", () => api().get("/v1/status"), { timeoutMs: startTimeoutMs });
  };
  await startController();
  return {
    folder,
    httpUrl,
    controller,
    agents,
    api,
    startController,
    async addAgent(device) {
      const agent = await newAgent({ folder, device, api: api(), root: agentRoot });
      agents.push(agent);
      agent.program.start();
      return agent;
    },
    async stop() {
      await Promise.all(agents.map((agent) => agent.program.stop()));
      await controller.stop();
    },
  };
}

function controllerArgs(options: {
  dataDir: string;
  configDir: string;
  httpPort: number;
  mqttPort: number;
  telemetryWindowMs: number;
}): string[] {
  return [
    "--data-dir",
    options.dataDir,
    "--config-dir",
    options.configDir,
    "--http-port",
    String(options.httpPort),
    "--mqtt-port",
    String(options.mqttPort),
    "--telemetry-window-ms",
    String(options.telemetryWindowMs),
  ];
}

async function newAgent(options: {
  folder: string;
  device: FleetDevice;
  api: Api;
  root: string | undefined;
}): Promise<FleetAgent> {
  const { folder, device, api, root } = options;
  const dataDir = join(folder, device.id);
  mkdirSync(dataDir, { recursive: true });
  const { token } = await api.post<{ token: string }>("/v1/claims", {
    device: device.id,
    region: device.region,
    labels: device.labels,
  });
  const claimPath = join(folder, `${device.id}.claim`);
  writeFileSync(claimPath, token, { mode: 0o600 });
  const args = ["--data-dir", dataDir, "--claim", claimPath, "--serve-port", "0"];
  if (device.override !== undefined) {
    const overridePath = join(folder, `${device.id}.profile.json`);
    writeFileSync(overridePath, JSON.stringify(device.override));
    args.push("--profile-override", overridePath);
  }
  const logPath = join(folder, `${device.id}.log`);
  return {
    device,
    dataDir,
    program: program({ name: device.id, root, entry: "agent/main.ts", args, logPath }),
  };
}
