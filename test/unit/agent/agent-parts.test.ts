/** Small parts that everything else rests on: durable folders, failures of the world, counters, time. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { believedNow, hearTime, timeFloorMs } from "../../../agent/time.ts";
import { worldError } from "../../../agent/world-error.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import { FleetError } from "../../../shared/errors.ts";
import { makeFolderDurable } from "../../../shared/files/durable-folder.ts";
import { type AgentFolder, agentFolder } from "../../helpers/agent-context.ts";
import { sampleEnvelope, samplePayloads } from "../../helpers/sample-payloads.ts";

let home: AgentFolder;
beforeEach(() => {
  home = agentFolder();
});
afterEach(() => home.remove());

describe("a durable folder", () => {
  it("has every name above it synced, also those that existed", async () => {
    const synced: string[] = [];
    const files = systemFiles();
    const watched = {
      ...files,
      async syncDirectory(path: string) {
        synced.push(path);
        await files.syncDirectory(path);
      },
    };
    const path = join(home.folder, "models", "digits", "a");
    for (let time = 0; time < 2; time++) {
      synced.length = 0;
      await makeFolderDurable(watched, home.folder, path);
      expect(synced).toEqual([
        join(home.folder, "models", "digits"),
        join(home.folder, "models"),
        home.folder,
      ]);
    }
    expect(await files.stat(path)).toMatchObject({ isDirectory: true });
  });
  it("must be below its root", async () => {
    await expect(
      makeFolderDurable(systemFiles(), join(home.folder, "x"), home.folder),
    ).rejects.toThrow(/assertion/);
  });
});

describe("a failure of the world", () => {
  const coded = (code: string) => Object.assign(new Error("text"), { code });
  it.each([
    ["ENOSPC", "disk-full"],
    ["EDQUOT", "disk-full"],
    ["SQLITE_FULL", "disk-full"],
    ["SQLITE_IOERR_WRITE", "internal"],
    ["EIO", "internal"],
  ])("%s is %s", (from, code) => {
    expect(worldError(coded(from))).toMatchObject({ code });
  });
  it.each(["SQLITE_ERROR", "SQLITE_CONSTRAINT", "ERR_INVALID_ARG_TYPE"])("%s is ours", (code) => {
    expect(worldError(coded(code))).toBeUndefined();
  });
  it("keeps a code that it has", () => {
    const error = new FleetError("artifact-mismatch", "other bytes");
    expect(worldError(error)).toBe(error);
    expect(worldError(new TypeError("x is undefined"))).toBeUndefined();
  });
});

describe("the store", () => {
  it("counts sessions over restarts", () => {
    expect(home.open().store.nextNumber("session")).toBe(1);
    expect(home.open().store.nextNumber("session")).toBe(2);
  });
  it("counts the tries of one measurement over restarts", () => {
    const tries = (id: string) => home.open().store.beginMeasurement(id);
    expect([tries("m-1"), tries("m-1"), tries("m-1"), tries("m-2"), tries("m-2")]).toEqual([
      1, 2, 3, 1, 2,
    ]);
  });
  it("keeps a measurement's result as long as it is asked for", () => {
    const { store } = home.open();
    const result = samplePayloads.measurement;
    store.finishMeasurement(result);
    store.pruneMeasurements([result.measurement]);
    expect(store.measurementResult(result.measurement)).toEqual(result);
    store.pruneMeasurements([]);
    expect(store.measurementDone(result.measurement)).toBe(false);
  });
  it("forgets old concluded attempts, never open or named ones", () => {
    const { store } = home.open();
    const outcome = samplePayloads["attempt-outcome"];
    for (const id of ["named", "open", "old", "new"]) {
      store.addAttempt({ id, model: "digits", manifestJson: "{}", state: "idle" });
      if (id !== "open") store.concludeAttempt({ ...outcome, attempt: id });
    }
    store.pruneAttempts(["named"], 1);
    const left = ["named", "open", "old", "new"].filter((id) => store.attempt(id) !== undefined);
    expect(left).toEqual(["named", "open", "new"]);
  });
});

describe("time", () => {
  const said = (wallMs: number, clockTrusted = true) => {
    return { ...sampleEnvelope, v: 1, wallMs, clockTrusted };
  };
  it("never falls below what the controller said, and is then not trusted", () => {
    const context = home.open();
    const flat = { ...context, clock: { ...context.clock, wallMs: () => 0 } };
    const { store } = context;
    const later = timeFloorMs(store) + 3_600_000;
    hearTime(flat, said(later));
    expect(believedNow(flat)).toMatchObject({ trusted: false });
    expect(believedNow(flat).ms).toBeGreaterThanOrEqual(later);
    hearTime(flat, said(later + 7_200_000, false));
    expect(timeFloorMs(store)).toBe(later);
    // Another run of the program knows the floor alone.
    const after = home.open({ clock: flat.clock });
    expect(believedNow(after)).toEqual({ ms: later, trusted: false, known: false });
  });
  it("goes on from what the controller said, by the clock that cannot jump", () => {
    let monotonicMs = 500;
    const context = home.open();
    const clock = { ...context.clock, wallMs: () => 0, monotonicMs: () => monotonicMs };
    const flat = { ...context, clock };
    expect(believedNow(flat).known).toBe(false);
    const toldMs = timeFloorMs(context.store) + 90_000;
    hearTime(flat, said(toldMs));
    monotonicMs += 86_400_000;
    expect(believedNow(flat)).toEqual({ ms: toldMs + 86_400_000, trusted: false, known: true });
    // Its own clock, once it is past what was seen, counts again.
    const right = { ...flat, clock: { ...clock, wallMs: () => toldMs + 5 } };
    expect(believedNow(right)).toEqual({ ms: toldMs + 5, trusted: true, known: true });
  });
});
