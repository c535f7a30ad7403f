/** What a part of the agent is given, with a real store and real files in a folder of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentContext } from "../../agent/context.ts";
import { openAgentStore } from "../../agent/state/store.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import { sampleProfile } from "./sample-payloads.ts";
import { realPorts } from "./test-controller.ts";

export interface AgentFolder {
  readonly folder: string;
  /** A context on the folder, as after a start; the one before it is closed like a killed one. */
  open(change?: Partial<AgentContext>): AgentContext;
  remove(): void;
}

export function agentFolder(): AgentFolder {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-agent-"));
  const key = generateKeyPair();
  let boots = 0;
  let close = () => {};
  return {
    folder,
    open(change = {}) {
      close();
      const store = openAgentStore(openSystemSqlite(join(folder, "agent.db")));
      close = () => store.close();
      return {
        ...realPorts(),
        dataDir: folder,
        store,
        identity: {
          tenant: "main",
          device: "cam-1",
          region: "eu-west",
          labels: {},
          mqttUrl: "mqtts://localhost:1",
          caPem: "",
          password: "p".repeat(40),
          key,
          signingKeys: [key.publicKey],
        },
        boot: String(++boots).padStart(16, "0"),
        profile: sampleProfile,
        readPower: async () => ({ source: "mains", fraction: null }),
        emulated: true,
        fingerprint: "f",
        agentVersion: "0.1.0",
        heardTime: { last: undefined },
        ...change,
      };
    },
    remove() {
      close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
