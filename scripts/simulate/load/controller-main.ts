/**
 * A real controller with its real broker on loopback, in a process of its own, so that its processor time
 * and memory are its own. The parent gives one order at a time over IPC and gets one answer to each.
 *
 * Invariant: everything it writes is in the folder that the parent gave it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startEmbeddedBroker } from "../../../controller/broker/embedded-broker.ts";
import { controllerConfigSchema } from "../../../controller/config.ts";
import { runController } from "../../../controller/controller.ts";
import { startRollout } from "../../../controller/rollout/service.ts";
import { rolloutRow } from "../../../controller/rollout/views.ts";
import { createClaim } from "../../../controller/trust/claims.ts";
import { systemClock } from "../../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import { connectSystemMqtt } from "../../../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../../../shared/adapters/system-processes.ts";
import { systemRandom } from "../../../shared/adapters/system-random.ts";
import { openSystemSqlite } from "../../../shared/adapters/system-sqlite.ts";
import { doubled, openAtServer } from "../checks/fleet.ts";
import { regionName } from "../fleet/region.ts";
import { addShards, addVersion, modelName, operatorFiles } from "../world/catalogue.ts";
import { runtimeVersion } from "../world/programs.ts";
import { allAtOnce } from "../world/start-state.ts";
import { healthyModel } from "../world/synthetic-model.ts";
import {
  type LoadOrder,
  type LoadStatus,
  type LoadTotals,
  loadOrderSchema,
  silentLog,
} from "./orders.ts";

const [folder = "", telemetryWindowMs = ""] = process.argv.slice(2);
const modelBytes = 4_000;
const pool = { shards: 16, shardSamples: 50 };

const configDir = join(folder, "config");
mkdirSync(configDir, { recursive: true });
for (const [name, text] of Object.entries(operatorFiles())) {
  writeFileSync(join(configDir, name), text);
}
const controller = await runController(
  {
    clock: systemClock(),
    random: systemRandom(),
    files: systemFiles(),
    openSqlite: openSystemSqlite,
    connectMqtt: connectSystemMqtt,
    processes: systemProcesses(),
    log: silentLog,
    startBroker: startEmbeddedBroker,
    startHttp: async () => ({ url: "none", stop: async () => {} }),
  },
  controllerConfigSchema.parse({
    canarySoakMs: 0,
    dataDir: join(folder, "data"),
    configDir,
    mqttPort: 0,
    telemetryWindowMs: Number(telemetryWindowMs),
    onnxruntime: runtimeVersion,
  }),
);
const { ctx } = controller;
await addShards(ctx, pool);

const answers = {
  claims: async ({ devices }: Extract<LoadOrder, { order: "claims" }>) => {
    const tokens: Record<string, string> = {};
    for (const device of devices) {
      tokens[device] = (await createClaim(ctx, { device, region: regionName, labels: {} })).token;
    }
    return tokens;
  },
  roll: async ({ version }: Extract<LoadOrder, { order: "roll" }>) => {
    const model = { ...healthyModel, name: `model ${version}` };
    await addVersion(ctx, version, model, { modelBytes, ...pool });
    const order = { model: modelName, version, stages: allAtOnce };
    return { rollout: (await startRollout(ctx, order)).id };
  },
  status: async ({ rollout }: Extract<LoadOrder, { order: "status" }>): Promise<LoadStatus> => {
    const { status, reason } = await rolloutRow(ctx.db, rollout);
    return { status, reason, open: await openAtServer(ctx) };
  },
  totals: async (): Promise<LoadTotals> => {
    const { count } = await ctx.db
      .selectFrom("attempts")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("outcome", "is not", null)
      .executeTakeFirstOrThrow();
    const { user, system } = process.cpuUsage();
    return {
      decided: count,
      lost: await openAtServer(ctx),
      doubled: (await doubled(ctx)).length,
      cpuMs: (user + system) / 1_000,
      rssPeakBytes: process.resourceUsage().maxRSS * 1_024,
    };
  },
  stop: async () => {
    await controller.stop();
    return {};
  },
};

process.on("message", (message) => {
  const order = loadOrderSchema.parse(message);
  const answer = answers[order.order] as (given: LoadOrder) => Promise<unknown>;
  answer(order).then(
    (value) => process.send?.({ value }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.send?.({ value: {} });
