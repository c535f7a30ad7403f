/** What the controller forgets by age and by number, and the marks that let no report count twice. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { onBirth } from "../../../controller/mqtt/handlers/birth.ts";
import { keepHouse } from "../../../controller/retention/housekeeping.ts";
import { isWorthNoting, mayForget, transitMs } from "../../../controller/retention/marks.ts";
import { forgetOld } from "../../../controller/retention/retention.ts";
import { recordEvent } from "../../../controller/storage/events/repository.ts";
import { handClock } from "../../helpers/hand-clock.ts";
import { model, type RolloutWorld, rolloutWorld } from "../../helpers/rollout-world.ts";
import { samplePayloads } from "../../helpers/sample-payloads.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const limits = {
  telemetryRetentionMs: 30 * dayMs,
  telemetryRowsMax: 20_000,
  eventRetentionMs: 400 * dayMs,
  eventRowsMax: 20_000,
};

let world: RolloutWorld;
let clock: ReturnType<typeof handClock>;
beforeEach(async () => {
  world = await rolloutWorld();
  clock = handClock();
  Object.assign(world.ctx, { clock });
  Object.assign(world.ctx.config, limits);
  await world.addDevice("cam-1", "camera");
});
afterEach(() => world.db.destroy());

async function addWindows(count: number, receivedAtMs: number): Promise<void> {
  const row = {
    device: "cam-1",
    model,
    bundleSha256: "b",
    region: "eu",
    deviceClass: "camera",
    startedAtMs: 0,
    durationMs: 1,
    ok: 1,
    errors: 0,
    timeouts: 0,
    histogramJson: "{}",
    ramPeakBytes: null,
    emulated: 0,
    receivedAtMs,
  };
  for (let at = 0; at < count; at += 500)
    await world.db
      .insertInto("telemetryWindows")
      .values(Array.from({ length: Math.min(500, count - at) }, () => row))
      .execute();
}

let sequence = 0;
async function addMarks(count: number, receivedAtMs: number, device = "cam-1"): Promise<void> {
  for (let at = 0; at < count; at += 500)
    await world.db
      .insertInto("received")
      .values(
        Array.from({ length: Math.min(500, count - at) }, () => ({
          device,
          boot: "boot",
          sequence: sequence++,
          receivedAtMs,
        })),
      )
      .execute();
}

async function count(table: "telemetryWindows" | "events" | "received" | "deviceBoots") {
  const { n } = await world.db
    .selectFrom(table)
    .select((eb) => eb.fn.countAll<number>().as("n"))
    .executeTakeFirstOrThrow();
  return n;
}

/** One pass, with as much time as its pauses take. */
async function pass(): Promise<void> {
  let isOver = false;
  const done = forgetOld(world.ctx, new AbortController().signal).then(() => {
    isOver = true;
  });
  while (!isOver) await clock.pass(50);
  await done;
}

describe("telemetry windows and events", () => {
  it("go by age, in batches, and the younger stay", async () => {
    await addWindows(2_500, 0);
    await clock.pass(5 * dayMs);
    await addWindows(10, 5 * dayMs);
    await recordEvent(world.db, { atMs: 0, kind: "k", subject: "old", message: "m" });
    await recordEvent(world.db, { atMs: 5 * dayMs, kind: "k", subject: "new", message: "m" });
    await clock.pass(25 * dayMs + hourMs);
    await pass();
    expect(await count("telemetryWindows")).toBe(10);
    expect(await count("events")).toBe(2);
    await clock.pass(370 * dayMs);
    await pass();
    expect(await count("telemetryWindows")).toBe(0);
    const left = await world.db.selectFrom("events").select("subject").execute();
    expect(left).toEqual([{ subject: "new" }]);
  });

  it("go by number, oldest first, so that bytes are bounded", async () => {
    await addWindows(21_200, 0);
    await addWindows(1_300, 1);
    await pass();
    expect(await count("telemetryWindows")).toBe(20_000);
    const young = await world.db
      .selectFrom("telemetryWindows")
      .select("id")
      .where("receivedAtMs", "=", 1)
      .execute();
    expect(young).toHaveLength(1_300);
  });

  it("stay whatever their age while a rollout under way may be compared with them", async () => {
    await addWindows(10, 0);
    await clock.pass(20 * dayMs);
    await addWindows(10, 20 * dayMs);
    await clock.pass(5 * dayMs);
    await world.db
      .insertInto("rollouts")
      .values({
        id: "r-1",
        model,
        version: "1",
        kind: "release",
        restores: null,
        releaseCounter: 1,
        status: "running",
        reason: null,
        stateJson: "{}",
        createdAtMs: 25 * dayMs,
        updatedAtMs: 0,
      })
      .execute();
    await clock.pass(35 * dayMs);
    await pass();
    expect(await count("telemetryWindows")).toBe(10);
    await world.db.updateTable("rollouts").set({ status: "completed" }).execute();
    await pass();
    expect(await count("telemetryWindows")).toBe(0);
  });
});

describe("marks of stored reports", () => {
  const active = { standing: "active", outboxEmptyAtMs: 10 * hourMs };

  it("go only when the outbox was empty long after them", () => {
    const ahead = (ms: number) => ({ ...active, receivedAtMs: 10 * hourMs - ms });
    expect(mayForget(ahead(transitMs + 1), 20 * hourMs)).toBe(true);
    expect(mayForget(ahead(transitMs), 20 * hourMs)).toBe(false);
    expect(mayForget({ ...active, receivedAtMs: 0, outboxEmptyAtMs: null }, dayMs)).toBe(false);
    // The clock was set back after that birth.
    expect(mayForget({ ...active, receivedAtMs: 0 }, 9 * hourMs)).toBe(false);
  });

  it("go for devices that are not heard any more", () => {
    const mark = { receivedAtMs: 5, outboxEmptyAtMs: null };
    expect(mayForget({ ...mark, standing: "retired" }, 6)).toBe(true);
    expect(mayForget({ ...mark, standing: null }, 6)).toBe(true);
    expect(mayForget({ ...mark, standing: "quarantined" }, 6)).toBe(false);
  });

  it("are noted as needless once an hour at most", () => {
    expect(isWorthNoting(null, 5)).toBe(true);
    expect(isWorthNoting(5, 6)).toBe(false);
    expect(isWorthNoting(0, transitMs)).toBe(true);
    expect(isWorthNoting(dayMs, 0)).toBe(true);
  });

  it("are walked over to the end, past those that stay", async () => {
    await world.addDevice("cam-2", "camera");
    await addMarks(1_500, 0, "cam-1");
    await addMarks(1_500, 0, "cam-2");
    await clock.pass(3 * hourMs);
    await world.db
      .updateTable("devices")
      .set({ outboxEmptyAtMs: 2 * hourMs })
      .where("id", "=", "cam-2")
      .execute();
    await pass();
    expect(await count("received")).toBe(1_500);
    await world.setStanding("cam-1", "retired");
    await pass();
    expect(await count("received")).toBe(0);
  });

  it("are bounded for a device that never says that its outbox is empty", async () => {
    await addMarks(11_700, 0);
    await pass();
    expect(await count("received")).toBe(10_000);
    const { first } = await world.db
      .selectFrom("received")
      .select((eb) => eb.fn.min("sequence").as("first"))
      .executeTakeFirstOrThrow();
    expect(first).toBe(sequence - 10_000);
  });
});

describe("a birth", () => {
  const born = (change: object, boot = "boot-1") =>
    onBirth(world.ctx, { device: "cam-1", boot } as Parameters<typeof onBirth>[1], {
      ...samplePayloads.birth,
      session: 2,
      outboxPending: 0,
      ...change,
    });
  const noted = async () =>
    (await world.db.selectFrom("devices").select("outboxEmptyAtMs").executeTakeFirst())
      ?.outboxEmptyAtMs;

  it("says when nothing was left to send, and again while the session lasts", async () => {
    await clock.pass(5);
    await born({ outboxPending: 3 });
    expect(await noted()).toBeNull();
    await born({});
    expect(await noted()).toBe(5);
    await clock.pass(hourMs);
    await born({ outboxPending: 1 });
    expect(await noted()).toBe(5);
    await born({});
    expect(await noted()).toBe(5 + hourMs);
  });

  it("of an older session says nothing of now", async () => {
    await born({ session: 2, outboxPending: 1 });
    await born({ session: 3, outboxPending: 1 });
    await born({ session: 2 });
    expect(await noted()).toBeNull();
  });

  it("leaves the newest hundred boots", async () => {
    for (let at = 0; at < 105; at++) {
      await clock.pass(1);
      await born({ session: at + 2 }, `boot-${at}`);
    }
    expect(await count("deviceBoots")).toBe(100);
    const newest = await world.db.selectFrom("deviceBoots").select("boot").execute();
    expect(newest.map(({ boot }) => boot)).toContain("boot-104");
    expect(newest.map(({ boot }) => boot)).not.toContain("boot-4");
  });
});

describe("housekeeping", () => {
  it("begins soon after the start, goes on every hour, and ends when it is told to", async () => {
    const stop = keepHouse(world.ctx);
    await addWindows(10, -40 * dayMs);
    await clock.pass(59_000);
    expect(await count("telemetryWindows")).toBe(10);
    await clock.pass(2_000);
    expect(await count("telemetryWindows")).toBe(0);
    await addWindows(10, -40 * dayMs);
    await clock.pass(hourMs + 1_000);
    expect(await count("telemetryWindows")).toBe(0);
    await stop();
    await addWindows(10, -40 * dayMs);
    const errors: string[] = [];
    world.ctx.log.error = (message) => errors.push(message);
    // The controller closes its database next.
    Object.assign(world.ctx, { db: undefined });
    await clock.pass(3 * hourMs);
    expect(errors).toEqual([]);
    expect(await count("telemetryWindows")).toBe(10);
  });
});
