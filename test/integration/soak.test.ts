/**
 * What a device watches after a commit, beside a real controller: models that fail in service, models
 * that differ, labels, and the evidence that all of it leaves behind.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import type { RunningController } from "../../controller/controller.ts";
import { answerLabelRequest, listLabelRequests } from "../../controller/soak/labels.ts";
import { connectSystemMqtt } from "../../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import type { Soak } from "../../shared/artifact/soak.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ConnectMqtt } from "../../shared/ports/mqtt.ts";
import type { ChildHandle, Processes } from "../../shared/ports/processes.ts";
import { seededRandom } from "../../shared/prng.ts";
import { badModelBytes, markedImage } from "../helpers/bad-models.ts";
import {
  changedManifest,
  claimFor,
  deviceDir,
  offer,
  prepareTinyModel,
} from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { tinyModelBytes } from "../helpers/tiny-classifier.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const model = "digits";
const { folder, remove } = temporaryFolder();
const random = seededRandom(5);
const world = { offline: false };
let controller: RunningController;
let agent: RunningAgent;
let counter = 0;
const bundles = { good: "", twin: "", hanging: "", other: "", hungry: "" };

const connectMqtt: ConnectMqtt = (options) =>
  world.offline
    ? Promise.reject(new FleetError("mqtt-unreachable", "no network"))
    : connectSystemMqtt(options);
/** All child processes of the agent; the newest is the one that serves. */
const children: ChildHandle[] = [];
const processes: Processes = {
  fork(entry, options) {
    const child = systemProcesses().fork(entry, options);
    children.push(child);
    return child;
  },
};
const startAgent = async (claimToken?: string) => {
  const dataDir = deviceDir(folder, device);
  const claim = claimToken === undefined ? {} : { claimToken };
  agent = await startTestAgent({ dataDir, ports: { connectMqtt, processes }, ...claim });
};

const watch: Soak = {
  durationMs: 600_000,
  shadowFraction: 1,
  cpuFractionMax: 1,
  celsiusMax: null,
  disagreementMax: 0.02,
  margin: 0.3,
  crashFractionMax: 1e-6,
  inferTimeoutMs: 1_500,
  labelRequestsMax: 40,
  latencySloMs: 1_000,
  horizonsMs: [],
};

/** Commits a bundle, without a golden set that would stop it. */
async function release(attempt: string, bundleSha256: string, soak: Partial<Soak> | null = {}) {
  const target = { device, bundleSha256, releaseCounter: ++counter };
  const manifest = await changedManifest(controller.ctx, target, {
    golden: [],
    soak: soak && { ...watch, ...soak },
  });
  const outcome = await offer(controller, { attempt, device, model, manifest });
  expect(outcome).toMatchObject({ outcome: "committed", servingSha256: bundleSha256 });
}
async function infer(
  image: Uint8Array = Uint8Array.from({ length: 64 }, () => random.nextInt(256)),
) {
  const answer = await fetch(`${agent.serveUrl}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { x: Buffer.from(image).toString("base64") } }),
  });
  const body = (await answer.json()) as Record<string, unknown>;
  return { status: answer.status, code: body["code"], served: body["bundleSha256"] };
}
const answersAgain = (bundle: string) =>
  until("an answer", async () => ((await infer()).served === bundle ? true : undefined));
const reported = (attempt: string, verdict: string) =>
  until(`${verdict} of ${attempt}`, () =>
    controller.ctx.db
      .selectFrom("soakReports")
      .selectAll()
      .where("attempt", "=", attempt)
      .where("verdict", "=", verdict)
      .executeTakeFirst(),
  );

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  const { ctx } = controller;
  const hang = badModelBytes({ does: "hang", on: "the marked input" });
  const hungry = badModelBytes({ does: "fill-memory", on: "every input", bytes: 40_000_000 });
  const weights = Float32Array.from({ length: 72 }, () => random.nextFloat() - 0.5);
  bundles.good = await prepareTinyModel(ctx, model, "1");
  bundles.twin = await prepareTinyModel(ctx, model, "2");
  bundles.hanging = await prepareTinyModel(ctx, model, "3", hang);
  bundles.other = await prepareTinyModel(ctx, model, "4", tinyModelBytes({ weights }));
  bundles.hungry = await prepareTinyModel(ctx, model, "5", hungry);
  await startAgent(await claimFor(ctx, device));
  await release("first", bundles.good);
}, 180_000);
afterEach(() => {
  world.offline = false;
});
afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

describe("a model that hangs in service", () => {
  it("is taken back by the device alone, over a restart and without a network", async () => {
    await release("hangs", bundles.hanging);
    expect(await infer()).toMatchObject({ status: 200, served: bundles.hanging });
    expect(await infer(markedImage)).toMatchObject({ code: "runner-timeout" });
    await answersAgain(bundles.hanging);

    await agent.stop();
    world.offline = true;
    await startAgent();
    await answersAgain(bundles.hanging);
    expect(await infer(markedImage)).toMatchObject({ code: "runner-timeout" });
    await answersAgain(bundles.good);

    world.offline = false;
    const report = await reported("hangs", "rolled-back");
    expect(report).toMatchObject({ code: "soak-crashes", servingSha256: bundles.good });
    expect(JSON.parse(report.numbersJson)).toMatchObject({ crashes: 2 });
    await agent.stop();
    await startAgent();
    expect(await infer()).toMatchObject({ status: 200, served: bundles.good });
  }, 120_000);

  it("is not excused by what it did the last time", async () => {
    await release("hangs-again", bundles.hanging);
    for (const next of [bundles.hanging, bundles.good]) {
      expect(await infer(markedImage)).toMatchObject({ code: "runner-timeout" });
      await answersAgain(next);
    }
    const report = await reported("hangs-again", "rolled-back");
    expect(report.why).toContain("the model before did so 0 times");
  }, 120_000);

  it("stays when nothing was ordered to watch it", async () => {
    await release("unwatched", bundles.hanging, null);
    for (let time = 0; time < 3; time++) {
      children.at(-1)?.kill("SIGKILL");
      await until("the end", async () => ((await infer()).served === undefined ? true : undefined));
      await answersAgain(bundles.hanging);
    }
    await release("back", bundles.good);
  }, 120_000);
});

describe("a model that agrees with the one before", () => {
  it("is certified without a label, observed at its horizons and watched to the end", async () => {
    for (let at = 0; at < 5; at++) await infer();
    await release("agrees", bundles.twin, { durationMs: 4_000, horizonsMs: [3_000] });
    await until("the certificate", async () => {
      await infer();
      return controller.ctx.db
        .selectFrom("soakReports")
        .select("code")
        .where("attempt", "=", "agrees")
        .where("verdict", "=", "certified")
        .executeTakeFirst();
    });
    const ended = await reported("agrees", "ended");
    expect(ended).toMatchObject({ code: "soak-complete", servingSha256: bundles.twin });
    const { horizonMs, arm, signalsJson } = await controller.ctx.db
      .selectFrom("observations")
      .selectAll()
      .where("attempt", "=", "agrees")
      .executeTakeFirstOrThrow();
    expect({ horizonMs, arm }).toEqual({ horizonMs: 3_000, arm: "canary" });
    const signals = JSON.parse(signalsJson);
    expect(signals["errors"]).toMatchObject({ after: { mean: 0 } });
    expect(signals["errors"].before.n).toBeGreaterThanOrEqual(5);
    expect(signals["agreement"].after.mean).toBe(1);
    expect(signals["over-slo"].after).toMatchObject({ mean: 0 });
  }, 120_000);
});

describe("a model that differs from the one before", () => {
  it("is no worse for that: labels of the differing samples decide", async () => {
    await release("differs", bundles.other);
    const paused = await until("the alarm", async () => {
      await infer();
      return controller.ctx.db
        .selectFrom("soakReports")
        .selectAll()
        .where("attempt", "=", "differs")
        .where("verdict", "=", "paused")
        .executeTakeFirst();
    });
    expect(paused.code).toBe("soak-disagreement");
    const questions = await until("enough questions", async () => {
      await infer();
      const open = await listLabelRequests(controller.ctx, { model, status: "open" });
      return open.length >= 25 ? open : undefined;
    });
    expect((await infer()).served).toBe(bundles.other);
    expect(questions[0]).toMatchObject({ device, attempt: "differs" });
    for (const { id, oldModelSays, newModelSays } of questions) {
      expect(newModelSays).not.toBe(oldModelSays);
      await answerLabelRequest(controller.ctx, id, oldModelSays);
    }
    const report = await reported("differs", "rolled-back");
    expect(report).toMatchObject({ code: "soak-labels", servingSha256: bundles.twin });
    await answersAgain(bundles.twin);
    await expect(
      answerLabelRequest(controller.ctx, questions[0]!.id, questions[0]!.newModelSays),
    ).rejects.toThrow(expect.objectContaining({ code: "conflict" }));
  }, 120_000);
});

describe("a control", () => {
  it("reports the same signals around its trial, and nothing else", async () => {
    const served = (await infer()).served as string;
    const target = { device, bundleSha256: served, releaseCounter: ++counter };
    const soak = { ...watch, durationMs: 1_000, horizonsMs: [1_500] };
    const change = { purpose: "control" as const, golden: [], soak };
    const manifest = await changedManifest(controller.ctx, target, change);
    const outcome = await offer(controller, { attempt: "control", device, model, manifest });
    expect(outcome).toMatchObject({ outcome: "observed" });
    await infer();
    await reported("control", "ended");
    const seen = await controller.ctx.db
      .selectFrom("observations")
      .selectAll()
      .where("attempt", "=", "control")
      .execute();
    expect(seen).toMatchObject([{ horizonMs: 1_500, arm: "control" }]);
    expect(JSON.parse(seen[0]!.signalsJson)["agreement"]).toMatchObject({ after: { mean: 1 } });
  }, 60_000);
});

describe("another update", () => {
  it("ends the soak before it writes over the model that shadows", async () => {
    await release("early", bundles.good);
    await infer();
    await release("late", bundles.other, null);
    expect(await reported("early", "ended")).toMatchObject({ code: "soak-superseded" });
  }, 60_000);

  it("that takes three times the memory is killed in its trial", async () => {
    const target = { device, bundleSha256: bundles.hungry, releaseCounter: ++counter };
    const { signed } = await changedManifest(controller.ctx, target);
    const { gates } = signed as { gates: { ramPeakBytesMax: number | null } };
    const change = { gates: { ...gates, ramPeakBytesMax: 40_000_000 } };
    const manifest = await changedManifest(controller.ctx, target, change as never);
    const outcome = await offer(controller, { attempt: "hungry", device, model, manifest });
    expect(outcome).toMatchObject({
      outcome: "rolled-back",
      code: "memory",
      why: expect.stringContaining("120 MB are allowed"),
      servingSha256: bundles.other,
    });
  }, 60_000);
});
