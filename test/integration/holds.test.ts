/**
 * The kill switch and install windows with real programs' parts: a controller, its broker and agents with
 * real slots and runners.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import { openAgentStore } from "../../agent/state/store.ts";
import { runCli } from "../../controller/cli/program.ts";
import type { RunningController } from "../../controller/controller.ts";
import { publishDesired, raiseDesiredRevision } from "../../controller/fleet/desired.ts";
import { listDevices } from "../../controller/fleet/devices.ts";
import { changeHold, listHolds } from "../../controller/fleet/holds.ts";
import { program } from "../../scripts/fleet/programs.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import { signHold } from "../../shared/artifact/hold.ts";
import { installAlways, weekdays } from "../../shared/artifact/install-policy.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { generateKeyPair, signDocument } from "../../shared/artifact/signature.ts";
import type { Clock } from "../../shared/ports/clock.ts";
import type { Log } from "../../shared/ports/log.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import { addRawDevice, connectRawDevice } from "../helpers/raw-device.ts";
import {
  changedManifest,
  claimFor,
  deviceDir,
  offer,
  prepareTinyModel,
} from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const model = "digits";
const { folder, remove } = temporaryFolder();
const dataDir = deviceDir(folder, device);
const everywhere = { kind: "tenant" } as const;
const europe = { kind: "region", region: "eu-west" } as const;
let controller: RunningController;
let agent: RunningAgent;
let bundle: string;
let releaseCounter = 0;
/** Codes of what the agent refused. */
const refused: unknown[] = [];
/** How often the agent looks at what waits; made short by the test of it alone. */
const lookEveryMs = 60_000;
let looksOften = false;
/** What a test adds to the agent's wall clock. */
let aheadMs = 0;
/** Called when the agent starts a child process. */
let onChild = () => {};

const log: Log = {
  debug() {},
  info() {},
  warn: (_text, fields) => refused.push(fields?.["code"]),
  error() {},
  child: () => log,
};

function clockAhead(): Clock {
  const real = systemClock();
  return {
    ...real,
    wallMs: () => real.wallMs() + aheadMs,
    after: (delayMs, run) => real.after(looksOften && delayMs === lookEveryMs ? 300 : delayMs, run),
  };
}

function watchedProcesses(): Processes {
  const real = systemProcesses();
  return {
    ...real,
    fork(...args) {
      onChild();
      return real.fork(...args);
    },
  };
}

async function startAgent(claimToken?: string): Promise<void> {
  agent = await startTestAgent({
    dataDir,
    ...(claimToken !== undefined && { claimToken }),
    ports: { log, clock: clockAhead(), processes: watchedProcesses() },
  });
}

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  bundle = await prepareTinyModel(controller.ctx, model, "1");
  await startAgent(await claimFor(controller.ctx, device));
  await until("the device to be online", async () =>
    (await listDevices(controller.ctx)).some(({ online }) => online) ? true : undefined,
  );
}, 60_000);

afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

const set = (reason: string, scope: typeof everywhere | typeof europe = everywhere) =>
  changeHold(controller.ctx, { scope, held: true, reason });
const release = (scope: typeof everywhere | typeof europe = everywhere) =>
  changeHold(controller.ctx, { scope, held: false, reason: "over" });

async function offerNext(attempt: string, change: Partial<Manifest> = {}) {
  const target = { device, bundleSha256: bundle, releaseCounter: ++releaseCounter };
  const manifest = await changedManifest(controller.ctx, target, {
    install: installAlways,
    ...change,
  });
  return {
    manifest,
    decided: offer(controller, { attempt, device, model, manifest }),
  };
}

const reportedUpdate = async (id = device) =>
  (await listDevices(controller.ctx)).find((one) => one.id === id)?.models[model]?.update;

/** What an operator sees of the devices. */
async function shown(): Promise<string> {
  const lines: string[] = [];
  await runCli(["device", "list"], {
    out: (text) => lines.push(text),
    err: (text) => lines.push(text),
    interactive: false,
    env: { FLEETFIT_DATA_DIR: deviceDir(folder, "controller") },
    run: async () => 1,
    sleep: async () => {},
  });
  return lines.join("\n");
}

const waitsFor = (attempt: string, code: string) =>
  until(`${attempt} to wait for ${code}`, async () => {
    const update = await reportedUpdate();
    return update?.attempt === attempt && update.waiting?.code === code ? update : undefined;
  });

const obeys = (sequence: number) =>
  until(`everybody to know hold ${sequence}`, async () => {
    const [hold] = await listHolds(controller.ctx);
    return hold?.sequence === sequence && hold.devices.reached === 1 ? true : undefined;
  });

const committedSlot = () => {
  const store = openAgentStore(openSystemSqlite(`${dataDir}/agent.db`));
  try {
    return store.model(model)?.committedSlot ?? null;
  } finally {
    store.close();
  }
};

describe("a hold", () => {
  it("that was set before stops the install, survives a restart, and its end lets it go on", async () => {
    const { sequence } = await set("recall of the sensor");
    await obeys(sequence);
    const { decided } = await offerNext("before");
    const update = await waitsFor("before", "hold");
    expect(update).toMatchObject({
      state: "waiting",
      waiting: { why: "installs are held: recall of the sensor", untilMs: null },
    });
    expect(await shown()).toContain("waiting: installs are held: recall of the sensor");
    await agent.stop();
    expect(committedSlot()).toBeNull();
    await startAgent();
    await waitsFor("before", "hold");
    expect(await reportedUpdate()).toMatchObject({ state: "waiting" });
    await release();
    expect(await decided).toMatchObject({ outcome: "committed", servingSha256: bundle });
  });

  it("is obeyed by a program that was killed while it waited", async () => {
    await agent.stop();
    const killed = program({
      name: device,
      entry: "agent/main.ts",
      args: ["--data-dir", dataDir],
      logPath: `${folder}/${device}.log`,
    });
    const session = async () => {
      const rows = await controller.ctx.db.selectFrom("devices").select("session").execute();
      return rows[0]?.session ?? 0;
    };
    try {
      const { sequence } = await set("kill");
      killed.start();
      await obeys(sequence);
      const { decided } = await offerNext("killed");
      await waitsFor("killed", "hold");
      const before = await session();
      await killed.kill();
      await controller.ctx.db.updateTable("devices").set({ reportedJson: null }).execute();
      killed.start();
      await waitsFor("killed", "hold");
      expect(await session()).toBeGreaterThan(before);
      expect(committedSlot()).toBe("a");
      await release();
      expect(await decided).toMatchObject({ outcome: "committed" });
    } finally {
      await killed.stop();
      await startAgent();
    }
  });

  it("that is set during the trial keeps the candidate from serving until it ends", async () => {
    let sequence: Promise<{ sequence: number }> | undefined;
    const store = openAgentStore(openSystemSqlite(`${dataDir}/agent.db`));
    onChild = () => {
      const trials = store.openAttempts().some(({ state }) => state === "trialing");
      if (trials) sequence ??= set("stop in the middle", europe);
    };
    try {
      const { decided } = await offerNext("during");
      const update = await waitsFor("during", "hold");
      expect(sequence).toBeDefined();
      expect(update).toMatchObject({ state: "holding" });
      expect(store.model(model)?.committedSlot).toBe("b");
      await release(europe);
      expect(await decided).toMatchObject({ outcome: "committed" });
      expect(store.model(model)?.committedSlot).toBe("a");
    } finally {
      onChild = () => {};
      store.close();
    }
  });

  it("that was set while the device was away is there before anything else", async () => {
    await agent.stop();
    const { sequence } = await set("while you slept");
    const { decided } = await offerNext("away");
    await startAgent();
    await obeys(sequence);
    await waitsFor("away", "hold");
    await release();
    expect(await decided).toMatchObject({ outcome: "committed" });
  });

  it("that is forged or older is refused with its code and changes nothing", async () => {
    const { sequence } = await set("still on");
    await obeys(sequence);
    const forged = {
      schema: "fleetfit/hold/1" as const,
      tenant: "main",
      scope: everywhere,
      sequence: sequence + 1,
      held: false,
      reason: "forged",
      issuedAtMs: 1,
    };
    refused.length = 0;
    await controller.ctx.publish("hold", device, {
      holds: [
        signHold(forged, generateKeyPair()),
        signHold({ ...forged, sequence: sequence - 1 }, controller.ctx.signingKey),
      ],
    });
    await until("both to be refused", async () => (refused.length >= 2 ? true : undefined));
    expect(refused).toEqual(["signature-invalid", "hold-older"]);
    const { decided } = await offerNext("forged");
    await waitsFor("forged", "hold");
    await release();
    expect(await decided).toMatchObject({ outcome: "committed" });
  });

  it("that a restored controller has forgotten is taken back from a device", async () => {
    const { sequence } = await set("older than the backup");
    await obeys(sequence);
    await controller.ctx.db.deleteFrom("holds").execute();
    await agent.stop();
    await startAgent();
    await obeys(sequence);
    expect((await listHolds(controller.ctx))[0]).toMatchObject({
      held: true,
      reason: "older than the backup",
    });
    expect((await release()).sequence).toBe(sequence + 1);
    await obeys(sequence + 1);
  });

  it("is never sent to an agent that does not know holds", async () => {
    await addRawDevice(controller, "old");
    const old = await connectRawDevice(controller, "old");
    await old.birth();
    await old.take("desired");
    await set("not for old ones");
    await release();
    await old.birth(2);
    await old.take("desired");
    expect(old.received.filter(({ name }) => name === "hold")).toEqual([]);
    await old.connection.end();
  });
});

describe("an install window", () => {
  it("keeps an update waiting with its reason, and opens", async () => {
    const hour = new Date(systemClock().wallMs()).getUTCHours();
    const clockAt = (more: number) => `${String((hour + more) % 24).padStart(2, "0")}:00`;
    const window = { days: [...weekdays], from: clockAt(3), to: clockAt(6) };
    looksOften = true;
    const { decided } = await offerNext("window", {
      install: { ...installAlways, windows: [window] },
    });
    const update = await waitsFor("window", "window");
    expect(update).toMatchObject({ state: "waiting" });
    expect(update.waiting?.untilMs).toBeGreaterThan(systemClock().wallMs());
    looksOften = false;
    aheadMs = (update.waiting?.untilMs ?? 0) - systemClock().wallMs() + 60_000;
    expect(await decided).toMatchObject({ outcome: "committed" });
    aheadMs = 0;
  });
  /** An order that waits for three hours and is valid for one. */
  const offerShort = async (attempt: string) => {
    const nowMs = systemClock().wallMs();
    const clockAt = (more: number) =>
      `${String((new Date(nowMs).getUTCHours() + more) % 24).padStart(2, "0")}:00`;
    const window = { days: [...weekdays], from: clockAt(3), to: clockAt(6) };
    looksOften = true;
    const offered = await offerNext(attempt, {
      install: { ...installAlways, windows: [window] },
      expiresAtMs: nowMs + 3_600_000,
    });
    const { waiting } = await waitsFor(attempt, "window");
    const opens = () => {
      // A runner's limit is as long as a look.
      looksOften = false;
      aheadMs = (waiting?.untilMs ?? 0) - nowMs + 60_000;
    };
    return { ...offered, opens };
  };
  afterEach(() => {
    aheadMs = 0;
    looksOften = false;
  });
  it("that opens too late refuses an order that has expired", async () => {
    const { decided, opens } = await offerShort("late");
    opens();
    expect(await decided).toMatchObject({ outcome: "refused", code: "manifest-expired" });
  });
  it("installs an order that was signed again while it waited", async () => {
    const { ctx } = controller;
    const { decided, manifest, opens } = await offerShort("renewed");
    const expiresAtMs = systemClock().wallMs() + 86_400_000;
    const again = signDocument({ ...manifest.signed, expiresAtMs }, ctx.signingKey);
    await ctx.db.transaction().execute(async (trx) => {
      const manifestJson = JSON.stringify(again);
      await trx.updateTable("attempts").set({ manifestJson }).where("id", "=", "renewed").execute();
      await raiseDesiredRevision(trx, [device]);
    });
    await publishDesired(ctx, [device]);
    await until("the device to have the order", async () => {
      const { desiredRevision, reportedJson } = await ctx.db
        .selectFrom("devices")
        .select(["desiredRevision", "reportedJson"])
        .where("id", "=", device)
        .executeTakeFirstOrThrow();
      return JSON.parse(reportedJson ?? "{}").desiredRevision === desiredRevision || undefined;
    });
    opens();
    expect(await decided).toMatchObject({ outcome: "committed" });
  });
});
