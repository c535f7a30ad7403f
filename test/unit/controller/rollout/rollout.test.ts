/** Rollouts, purely: the table, the stop rule, who is in a stage. */
import { describe, expect, it } from "vitest";
import { defaultStages, step } from "../../../../controller/rollout/machine.ts";
import { type Selectable, selectDevices } from "../../../../controller/rollout/selection.ts";
import { stageVerdict } from "../../../../controller/rollout/stage-verdict.ts";
import { transitions } from "../../../../controller/rollout/transitions.ts";

const state = { stages: [...defaultStages], stage: 0, stageStartedAtMs: 1, releaseCounter: 3 };
const rules = { alphaDevice: 0.001, alphaRollout: 0.01, deadlineMs: 1_000 };
const count = (change: object) => ({ open: 0, committed: 0, rolledBack: 0, other: 0, ...change });

describe("the machine", () => {
  it("has one row per status and event, and none out of an end", () => {
    const keys = transitions.map(({ from, on }) => `${from}/${on}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.filter((key) => /^(stopped|completed|aborted)/.test(key))).toEqual([]);
  });
  it("goes to the next stage, completes, stops and withdraws", () => {
    expect(step("running", state, "stage-passed", 9)).toMatchObject({
      status: "running",
      state: { stage: 1, stageStartedAtMs: 9 },
      effects: ["offer-next-stage"],
    });
    expect(step("running", state, "last-stage-passed", 9).status).toBe("completed");
    expect(step("running", state, "stage-failed", 9)).toMatchObject({
      status: "stopped",
      effects: ["withdraw-open"],
    });
    expect(() => step("completed", state, "abort", 9)).toThrow(
      expect.objectContaining({ code: "conflict" }),
    );
  });
});

describe("a stage", () => {
  it("waits for open attempts, passes with all committed", () => {
    expect(stageVerdict(count({ open: 1, committed: 2 }), 0, rules).kind).toBe("waiting");
    expect(stageVerdict(count({ committed: 3 }), 0, rules).kind).toBe("passed");
  });
  it("stops at the first rollback among few devices, also while others are open", () => {
    expect(stageVerdict(count({ open: 2, rolledBack: 1 }), 0, rules).kind).toBe("failed");
  });
  it("bears the one rollback in a thousand that a healthy release has", () => {
    expect(stageVerdict(count({ committed: 999, rolledBack: 1 }), 0, rules).kind).toBe("passed");
    expect(stageVerdict(count({ committed: 990, rolledBack: 10 }), 0, rules).kind).toBe("failed");
  });
  it("does not wait for silent devices for ever, nor pass on nothing", () => {
    expect(stageVerdict(count({ open: 5, committed: 1 }), 2_000, rules).kind).toBe("passed");
    expect(stageVerdict(count({ open: 5 }), 2_000, rules).kind).toBe("failed");
    expect(stageVerdict(count({ other: 2 }), 0, rules).kind).toBe("failed");
  });
});

describe("a selection", () => {
  const devices: Selectable[] = ["c", "a", "b", "d"].map((id) => ({
    id,
    region: id < "c" ? "eu" : "us",
    deviceClass: id === "d" ? "meter" : "camera",
    measured: id === "c",
  }));
  const ids = (select: Parameters<typeof selectDevices>[0]) =>
    selectDevices(select, devices, 8).map(({ id }) => id);
  it("takes devices that measured the version first", () => {
    expect(ids({ by: "per-class", count: 1 })).toEqual(["c", "d"]);
    expect(ids({ by: "count", count: 2 })).toEqual(["c", "a"]);
  });
  it("knows percent of the whole fleet, regions, classes and lists", () => {
    expect(ids({ by: "percent", percent: 25 })).toHaveLength(2);
    expect(ids({ by: "regions", regions: ["eu"] })).toEqual(["a", "b"]);
    expect(ids({ by: "classes", classes: ["meter"] })).toEqual(["d"]);
    expect(ids({ by: "devices", devices: ["b", "zzz"] })).toEqual(["b"]);
    expect(ids({ by: "all" })).toHaveLength(4);
  });
});
