/**
 * A model that does not classify, from import to its trial on a device: real targets, RMSE, a real agent
 * and real ONNX files. A worse version is rolled back by its pair, with the numbers.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import type { RunningController } from "../../controller/controller.ts";
import { runCompress } from "../../controller/jobs/compress-job.ts";
import { importVersion } from "../../controller/models/import.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { changedManifest, claimFor, deviceDir, offer } from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { regressionBytes, regressionGolden } from "../helpers/tiny-regression.ts";

const device = "meter-1";
const model = "flow";
const { folder, remove } = temporaryFolder();
let controller: RunningController;
let agent: RunningAgent;
let counter = 0;

async function prepare(version: string, offset: number) {
  const { ctx } = controller;
  const files: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(regressionGolden()))
    files[name] = await ctx.blobs.put(bytes);
  const sourceSha256 = await ctx.blobs.put(regressionBytes(offset));
  const golden = { manifest: "golden.json", files };
  await importVersion(ctx, { model, version, sourceSha256, golden });
  const input = { model, version, recipes: ["fp32-clean"] };
  await runCompress(ctx, input, new AbortController().signal, async () => {});
  const { bundleSha256, evaluationJson } = await ctx.db
    .selectFrom("variants")
    .select(["bundleSha256", "evaluationJson"])
    .where("model", "=", model)
    .where("version", "=", version)
    .executeTakeFirstOrThrow();
  return { bundle: bundleSha256 ?? "", evaluation: JSON.parse(evaluationJson ?? "null") };
}
async function tried(attempt: string, bundleSha256: string, change: Partial<Manifest> = {}) {
  const target = { device, bundleSha256, releaseCounter: ++counter };
  const manifest = await changedManifest(controller.ctx, target, change);
  return offer(controller, { attempt, device, model, manifest });
}

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  agent = await startTestAgent({
    dataDir: deviceDir(folder, device),
    claimToken: await claimFor(controller.ctx, device),
  });
}, 120_000);
afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

describe("a model of real numbers", () => {
  it("is judged by its error, and a worse version is rolled back by the pair", async () => {
    const good = await prepare("1", 0);
    expect(good.evaluation).toMatchObject({ metric: "rmse" });
    // Noise of ± 0.1 around the target, of a scale of 4.
    expect(good.evaluation.sealed.value).toBeCloseTo(1 - 0.1 / Math.sqrt(3) / 4, 2);
    const { signed } = await changedManifest(controller.ctx, {
      device,
      bundleSha256: good.bundle,
      releaseCounter: 0,
    });
    expect(signed).toMatchObject({ agentMin: "0.2.0" });
    const strict = { gates: { ...(signed as Manifest).gates, metricFloor: 0.999 } };
    expect(await tried("first-strict", good.bundle, strict)).toMatchObject({
      outcome: "rolled-back",
      code: "metric-floor",
      servingSha256: null,
    });
    expect(await tried("first", good.bundle)).toMatchObject({ outcome: "committed" });

    const bad = await prepare("2", 0.2);
    const outcome = await tried("worse", bad.bundle);
    expect(outcome).toMatchObject({
      outcome: "rolled-back",
      code: "paired-metric",
      servingSha256: good.bundle,
    });
    expect(outcome.why).toMatch(/of 160 samples got worse/);
  });
});
