/** The parent's side of a controller under load: starts it, orders, and ends it with its folder. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import {
  type LoadOrder,
  type LoadStatus,
  type LoadTotals,
  loadStatusSchema,
  loadTotalsSchema,
} from "./orders.ts";

const entry = fileURLToPath(new URL("./controller-main.ts", import.meta.url));
const answerSchema = z.union([z.object({ error: z.string() }), z.object({ value: z.unknown() })]);

export interface LoadController {
  claims(devices: readonly string[]): Promise<Record<string, string>>;
  /** Answers the id of the rollout. */
  roll(version: string): Promise<string>;
  status(rollout: string): Promise<LoadStatus>;
  totals(): Promise<LoadTotals>;
  stop(): Promise<void>;
}

/** Errors: an `Error` with what the controller said, or that its process ended. */
export async function startLoadController(telemetryWindowMs: number): Promise<LoadController> {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-load-"));
  const child = fork(entry, [folder, String(telemetryWindowMs)]);
  const ask = async (order: LoadOrder) => {
    child.send(order);
    return nextAnswer(child);
  };
  const end = () => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await nextAnswer(child);
  } catch (error) {
    end();
    throw error;
  }
  return {
    claims: async (devices) =>
      z.record(z.string(), z.string()).parse(await ask({ order: "claims", devices: [...devices] })),
    roll: async (version) =>
      z.object({ rollout: z.string() }).parse(await ask({ order: "roll", version })).rollout,
    status: async (rollout) => loadStatusSchema.parse(await ask({ order: "status", rollout })),
    totals: async () => loadTotalsSchema.parse(await ask({ order: "totals" })),
    async stop() {
      await ask({ order: "stop" }).catch(() => {});
      end();
    },
  };
}

function nextAnswer(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) => reject(new Error(`the controller ended with ${code}`));
    child.once("exit", died);
    child.once("message", (message) => {
      child.off("exit", died);
      const answer = answerSchema.parse(message);
      if ("error" in answer) reject(new Error(answer.error));
      else resolve(answer.value);
    });
  });
}
