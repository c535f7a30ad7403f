/** The two programs of the project, whole and unchanged, on simulated machines. */
import { type RunningAgent, runAgent } from "../../../agent/agent.ts";
import type { AgentPorts } from "../../../agent/context.ts";
import type { Inventory } from "../../../agent/probe/probe.ts";
import type { ModelCaller } from "../../../agent/serving/call.ts";
import { type ControllerConfig, controllerConfigSchema } from "../../../controller/config.ts";
import type { ControllerContext } from "../../../controller/context.ts";
import { runController } from "../../../controller/controller.ts";
import type { CutMode } from "./effects.ts";
import { type Machine, type MachinePlan, portsOf, type Run, type World } from "./machine.ts";

export const brokerPort = 8883;
export const controllerDir = "/controller";
export const configDir = "/config";
export const deviceDir = "/device";
export const runtimeVersion = "1.30.0";

/** Starts the controller on its machine. Makes keys, so call it outside of `time.run`. */
export async function startController(
  world: World,
  machine: Machine,
  change: Partial<ControllerConfig> = {},
  boot: Pick<AgentBoot, "plan" | "cutMode"> = {},
): Promise<ControllerContext> {
  const ports = portsOf(world, machine, machine.begin(boot));
  const { ctx } = await runController(
    { ...ports, startHttp: async () => ({ url: "none", stop: async () => {} }) },
    controllerConfigSchema.parse({
      canarySoakMs: 0,
      dataDir: controllerDir,
      configDir,
      mqttPort: brokerPort,
      onnxruntime: runtimeVersion,
      ...change,
    }),
  );
  return ctx;
}

const inventory: Inventory = {
  architecture: "arm64",
  platform: "linux",
  kernel: "6.1.0",
  cpuModel: "simulated",
  cores: 4,
  ramBytes: 4_294_967_296,
  battery: undefined,
  onnxruntime: runtimeVersion,
  providers: ["cpu"],
};

/** An agent that is starting or runs. */
export interface AgentRun {
  readonly run: Run;
  /** Set as soon as it serves what it committed; before that it is booting. */
  agent: RunningAgent | undefined;
  /** Why the program ended by itself. */
  error: unknown;
  /** What the device's own software reaches it by. */
  local: ModelCaller | undefined;
}

export interface AgentBoot {
  readonly claimToken?: string;
  readonly plan?: MachinePlan;
  readonly cutMode?: CutMode;
  /** Stands in for single ports, to plant faults. */
  readonly change?: (ports: AgentPorts) => Partial<AgentPorts>;
  /** Called in the moment in which it is up, before it hears anything. */
  readonly onUp?: () => void;
}

export function startAgent(world: World, machine: Machine, boot: AgentBoot = {}): AgentRun {
  const run = machine.begin({
    ...(boot.plan && { plan: boot.plan }),
    ...(boot.cutMode && { cutMode: boot.cutMode }),
  });
  const ports = portsOf(world, machine, run);
  const started: AgentRun = { run, agent: undefined, error: undefined, local: undefined };
  runAgent(
    {
      ...ports,
      ...boot.change?.(ports),
      inventory,
      async startInferenceApi(local) {
        started.local = local;
        return { url: "none", stop: async () => {} };
      },
    },
    {
      dataDir: deviceDir,
      servePort: 0,
      ...(boot.claimToken !== undefined && { claimToken: boot.claimToken }),
    },
  ).then(
    (agent) => {
      if (!run.power.isOn()) return;
      started.agent = agent;
      boot.onUp?.();
    },
    (error: unknown) => {
      started.error = error;
      machine.cut("kept");
    },
  );
  return started;
}
