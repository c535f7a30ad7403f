/**
 * The life of an agent beside a real controller: good and bad updates while it answers, stops in the
 * middle of one, a damaged disk, a full database.
 */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import { slotDir } from "../../agent/paths.ts";
import type { RunningController } from "../../controller/controller.ts";
import { publishDesired, raiseDesiredRevision } from "../../controller/fleet/desired.ts";
import type { Database } from "../../controller/storage/database.ts";
import { connectSystemMqtt } from "../../shared/adapters/system-mqtt.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { ConnectMqtt } from "../../shared/ports/mqtt.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import type { OpenSqlite } from "../../shared/ports/sqlite.ts";
import {
  changedManifest,
  claimFor,
  deviceDir,
  offer,
  outcomeOf,
  prepareTinyModel,
} from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const model = "digits";
const { folder, remove } = temporaryFolder();
const dataDir = deviceDir(folder, device);
let controller: RunningController;
let agent: RunningAgent;
/** Bundles of two versions; their files are the same, their hashes are not. */
let one: string;
let two: string;
let counter = 0;
/** What the link and the disk of the device do to it. */
const world = { dropsBlocks: false, databaseFull: false, slowAnswers: false, heldTrial: false };
/** Topics that the device published to. */
const published: string[] = [];

const connectMqtt: ConnectMqtt = async (options) => {
  const connection = await connectSystemMqtt(options);
  return {
    ...connection,
    publish(topic, payload, qos) {
      published.push(topic);
      return connection.publish(topic, payload, qos);
    },
    onMessage: (handler) =>
      connection.onMessage((topic, payload) => {
        if (!(world.dropsBlocks && topic.endsWith("/artifact-block"))) handler(topic, payload);
      }),
  };
};
const openSqlite: OpenSqlite = (path) => {
  const sqlite = openSystemSqlite(path);
  return {
    ...sqlite,
    prepare(sql) {
      const statement = sqlite.prepare(sql);
      if (!sql.startsWith("update attempts")) return statement;
      return {
        reader: statement.reader,
        run(...parameters) {
          if (world.databaseFull) {
            throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
          }
          return statement.run(...parameters);
        },
        get: (...parameters) => statement.get(...parameters),
        all: (...parameters) => statement.all(...parameters),
        iterate: (...parameters) => statement.iterate(...parameters),
      };
    },
  };
};
/** Longer than a switch takes, so that some answer is always on its way. */
const slowAnswerMs = 300;
const processes: Processes = {
  fork(entry, options) {
    const child = systemProcesses().fork(entry, options);
    return {
      ...child,
      send(message) {
        const { call } = message as { call?: string };
        if (call === "evaluate" && world.heldTrial) return true;
        if (call !== "infer" || !world.slowAnswers) return child.send(message);
        setTimeout(() => child.send(message), slowAnswerMs);
        return true;
      },
    };
  },
};
const reports = (text: string) =>
  until(`a report of ${text}`, async () => {
    const row = await controller.ctx.db
      .selectFrom("devices")
      .select("reportedJson")
      .where("id", "=", device)
      .executeTakeFirst();
    return row?.reportedJson?.includes(text) ? true : undefined;
  });
const startAgent = async (claimToken?: string) => {
  agent = await startTestAgent({
    dataDir,
    ports: { connectMqtt, openSqlite, processes },
    ...(claimToken === undefined ? {} : { claimToken }),
  });
};

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  one = await prepareTinyModel(controller.ctx, model, "1");
  two = await prepareTinyModel(controller.ctx, model, "2");
  await startAgent(await claimFor(controller.ctx, device));
}, 120_000);
afterEach(() => {
  for (const key of Object.keys(world) as (keyof typeof world)[]) world[key] = false;
});
afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

const image = Array.from({ length: 8 }, (_, row) => Array.from({ length: 8 }, () => row * 9));
async function infer(input: unknown = image) {
  const answer = await fetch(`${agent.serveUrl}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { x: input } }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
const servedNow = async () => {
  const answer = await fetch(`${agent.serveUrl}/v1/models`);
  const { models } = (await answer.json()) as { models: { servingSha256: string | null }[] };
  return models[0]?.servingSha256 ?? null;
};
async function attemptOn(attempt: string, bundleSha256: string, change: Partial<Manifest> = {}) {
  const target = { device, bundleSha256, releaseCounter: ++counter };
  const manifest = await changedManifest(controller.ctx, target, change);
  return offer(controller, { attempt, device, model, manifest });
}
async function gatesOf(attempt: string): Promise<unknown> {
  const row = await controller.ctx.db
    .selectFrom("attempts")
    .select("gatesJson")
    .where("id", "=", attempt)
    .executeTakeFirstOrThrow();
  return JSON.parse(row.gatesJson ?? "[]");
}
/** The gates of a manifest with one that nothing can pass. */
async function strict(change: Partial<Manifest["gates"]>): Promise<Partial<Manifest>> {
  const target = { device, bundleSha256: two, releaseCounter: 0 };
  const { signed } = await changedManifest(controller.ctx, target);
  return { gates: { ...(signed as Manifest).gates, ...change } };
}

describe("an agent", () => {
  it("stays without a model when the first install fails its trial", async () => {
    const outcome = await attemptOn("first-bad", one, await strict({ metricFloor: 1 }));
    expect(outcome).toMatchObject({
      outcome: "rolled-back",
      code: "metric-floor",
      servingSha256: null,
    });
    expect(await servedNow()).toBeNull();
    expect(await infer()).toMatchObject({ status: 404, body: { code: "model-missing" } });
  });

  it("commits a good one and takes a sample as numbers or as base64", async () => {
    expect(await attemptOn("first-good", one)).toMatchObject({ outcome: "committed" });
    const asNumbers = await infer();
    const asText = await infer(Buffer.from(image.flat()).toString("base64"));
    expect(asNumbers).toMatchObject({ status: 200, body: { bundleSha256: one } });
    expect(asText.body).toEqual(asNumbers.body);
    expect(await infer([[1]])).toMatchObject({ status: 400, body: { code: "input-invalid" } });
  });

  it("answers every request while an update takes over", async () => {
    world.slowAnswers = true;
    let updating = true;
    const answers: { status: number; body: Record<string, unknown> }[] = [];
    const client = async () => {
      while (updating) answers.push(await infer());
    };
    const clients = [client(), client(), client()];
    expect(await attemptOn("second", two)).toMatchObject({
      outcome: "committed",
      servingSha256: two,
    });
    await until("answers of the new model", async () =>
      answers.at(-1)?.body["bundleSha256"] === two ? true : undefined,
    );
    updating = false;
    await Promise.all(clients);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(new Set(answers.map(({ body }) => body["bundleSha256"]))).toEqual(new Set([one, two]));
  });

  it.each([
    ["metric", { metricFloor: 1 }, "metric-floor"],
    ["memory", { ramPeakBytesMax: 1_000_000 }, "memory"],
  ])("rolls back what fails on %s, and answers all the time", async (name, gates, code) => {
    const outcome = await attemptOn(`bad-${name}`, one, await strict(gates));
    expect(outcome).toMatchObject({ outcome: "rolled-back", code, servingSha256: two });
    expect(await infer()).toMatchObject({ status: 200, body: { bundleSha256: two } });
  });

  it("takes back what it ran before whatever the limits say, when it computes what it should", async () => {
    const limits = { metricFloor: 1, classFloor: 1, parityOnlyAlpha: 1e-4 };
    const outcome = await attemptOn("return", one, await strict(limits));
    expect(outcome).toMatchObject({ outcome: "committed", servingSha256: one });
    const gates = (await gatesOf("return")) as { gate: string; verdict: string }[];
    expect(gates.map(({ gate, verdict }) => [gate, verdict])).toEqual([
      ["load", "pass"],
      ["parity", "pass"],
    ]);
    expect(await attemptOn("forth", two, await strict(limits))).toMatchObject({
      outcome: "committed",
    });
  });

  it("observes a control, the committed model against itself, and moves nothing", async () => {
    const slots = () =>
      (["a", "b"] as const).map((slot) => {
        const path = slotDir(dataDir, model, slot);
        return existsSync(path)
          ? readdirSync(path).map((name) => statSync(join(path, name)).ino)
          : [];
      });
    const before = slots();
    const outcome = await attemptOn("control", two, { purpose: "control", agentMin: "0.2.0" });
    expect(outcome).toMatchObject({ outcome: "observed", code: "ok", servingSha256: two });
    expect(await gatesOf("control")).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          gate: "paired-metric",
          numbers: expect.objectContaining({ worse: 0, better: 0 }),
        }),
        expect.objectContaining({ gate: "latency" }),
      ]),
    );
    const mistaken = await attemptOn("control-of-another", one, { purpose: "control" });
    expect(mistaken).toMatchObject({ outcome: "failed", code: "control-mismatch" });
    expect(slots()).toEqual(before);
    // Its counter was not used up: the release that is ordered with it is still a newer one.
    counter--;
    expect(await attemptOn("after-control", two)).toMatchObject({ outcome: "committed" });
  });

  it("goes on with an update that a stop cut off, and reports it once", async () => {
    world.dropsBlocks = true;
    const ended = attemptOn("cut", one);
    await reports("downloading");
    await agent.stop();
    world.dropsBlocks = false;
    await startAgent();
    expect(await ended).toMatchObject({ outcome: "committed", servingSha256: one });
    const events = await controller.ctx.db
      .selectFrom("events")
      .selectAll()
      .where("kind", "like", "attempt-%")
      .execute();
    expect(events.filter(({ dataJson }) => dataJson?.includes('"cut"')).length).toBe(1);
  });

  it("tells an outcome again to a controller that has lost it, and to no other", async () => {
    const { ctx } = controller;
    /** Sends what is wanted with the next revision, and waits until the device has it. */
    const wantAgain = async (change: (trx: Database) => Promise<unknown> = async () => {}) => {
      await ctx.db.transaction().execute(async (trx) => {
        await change(trx);
        await raiseDesiredRevision(trx, [device]);
      });
      await publishDesired(ctx, [device]);
      const { desiredRevision } = await ctx.db
        .selectFrom("devices")
        .select("desiredRevision")
        .where("id", "=", device)
        .executeTakeFirstOrThrow();
      await reports(`"desiredRevision":${desiredRevision}`);
    };
    await wantAgain();
    published.length = 0;
    await wantAgain();
    const lost = { status: "offered", outcome: null, decidedAtMs: null } as const;
    await wantAgain((trx) =>
      trx.updateTable("attempts").set(lost).where("id", "=", "cut").execute(),
    );
    expect(await outcomeOf(controller, "cut")).toMatchObject({ outcome: "committed" });
    expect(published.filter((topic) => topic.endsWith("/attempt-outcome")).length).toBe(1);
  });

  it("stops in the middle of a trial at once, and tries again after the next start", async () => {
    world.heldTrial = true;
    const ended = attemptOn("held", two);
    await reports("trialing");
    await agent.stop();
    world.heldTrial = false;
    await startAgent();
    expect(await ended).toMatchObject({ outcome: "committed", servingSha256: two });
    expect(await attemptOn("back", one)).toMatchObject({ outcome: "committed" });
  });

  it("gives up an update that is no longer wanted", async () => {
    world.dropsBlocks = true;
    // The descriptor of its bundle is not in the store, so it waits for blocks.
    const old = attemptOn("old", two);
    await until("the attempt to be known", async () =>
      (await controller.ctx.db.selectFrom("attempts").select("id").execute()).some(
        ({ id }) => id === "old",
      )
        ? true
        : undefined,
    );
    const next = attemptOn("next", one);
    expect(await old).toMatchObject({ outcome: "superseded", servingSha256: one });
    world.dropsBlocks = false;
    expect(await next).toMatchObject({ outcome: "committed", servingSha256: one });
  });

  it("is alone on its data folder", async () => {
    await expect(startTestAgent({ dataDir })).rejects.toMatchObject({ code: "conflict" });
  });

  it("keeps answering while its database is full, and then ends what it began", async () => {
    world.databaseFull = true;
    const ended = attemptOn("full", two);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await infer()).toMatchObject({ status: 200, body: { bundleSha256: one } });
    world.databaseFull = false;
    expect(await ended).toMatchObject({ outcome: "committed", servingSha256: two });
  });

  it("serves the model before when the committed file is damaged, until an update repairs it", async () => {
    await agent.stop();
    for (const slot of ["a", "b"] as const) {
      const path = join(slotDir(dataDir, model, slot), "bundle.json");
      const bundle = readFileSync(path, "utf8");
      if (!bundle.includes('"version":"2"')) continue;
      const file = join(slotDir(dataDir, model, slot), "model.onnx");
      const bytes = readFileSync(file);
      bytes[bytes.length >> 1]! ^= 1;
      writeFileSync(file, bytes);
    }
    await startAgent();
    expect(await infer()).toMatchObject({ status: 200, body: { bundleSha256: one } });
    expect(await attemptOn("repair", two)).toMatchObject({
      outcome: "committed",
      servingSha256: two,
    });
    expect(await infer()).toMatchObject({ status: 200, body: { bundleSha256: two } });
    await outcomeOf(controller, "repair");
  });
});
