/** A whole agent in this process with the real ports; single ports may be replaced. */
import { type RunningAgent, runAgent } from "../../agent/agent.ts";
import type { AgentPorts } from "../../agent/context.ts";
import { systemInventory } from "../../agent/probe/system-inventory.ts";
import { startInferenceApi } from "../../agent/serving/http.ts";
import { onnxruntimeVersion } from "../../shared/adapters/runtime-facts.ts";
import type { ProfileOverride } from "../../shared/devices/profile.ts";
import { realPorts } from "./test-controller.ts";

export async function startTestAgent(options: {
  dataDir: string;
  claimToken?: string;
  override?: ProfileOverride;
  ports?: Partial<AgentPorts>;
}): Promise<RunningAgent> {
  const inventory = await systemInventory({
    onnxruntime: onnxruntimeVersion(),
    providers: ["cpu"],
  });
  return runAgent(
    { ...realPorts(), inventory, startInferenceApi, ...options.ports },
    {
      dataDir: options.dataDir,
      servePort: 0,
      ...(options.claimToken === undefined ? {} : { claimToken: options.claimToken }),
      ...(options.override === undefined
        ? {}
        : { profileOverride: new TextEncoder().encode(JSON.stringify(options.override)) }),
    },
  );
}
