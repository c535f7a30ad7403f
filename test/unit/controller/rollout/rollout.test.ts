/** Rollouts, purely: the table of transitions, and what each event leaves behind. */
import { describe, expect, it } from "vitest";
import { endingStage, step } from "../../../../controller/rollout/machine.ts";
import { stagesFor } from "../../../../controller/rollout/promise.ts";
import {
  liveStatuses,
  offeringStatuses,
  type RolloutEvent,
  transitions,
} from "../../../../controller/rollout/transitions.ts";
import { type RolloutStatus, rolloutStatuses } from "../../../../shared/api/routes/rollouts.ts";

const state = {
  stages: stagesFor({ judge: "device-gates", replaces: false }, { canarySoakMs: 0 }),
  stage: 0,
  stageStartedAtMs: 1,
  seed: "s",
  history: [],
  startedBy: "ann",
  approvals: [] as string[],
  power: null,
  approvalsNeeded: 0,
  onHarm: "stop" as const,
  excluded: [],
};
const events = [...new Set(transitions.map(({ on }) => on))];

describe("the machine", () => {
  it("has one row per status and event", () => {
    const keys = transitions.map(({ from, on }) => `${from}/${on}`);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it.each<[RolloutStatus, RolloutEvent, RolloutStatus, string[]]>([
    ["awaiting-approval", "approved", "running", ["first-stage"]],
    ["awaiting-approval", "abort", "aborted", []],
    ["running", "stage-passed", "running", ["next-stage"]],
    ["running", "last-stage-passed", "completed", []],
    ["running", "stage-ready", "awaiting-promotion", []],
    ["running", "stage-inconclusive", "awaiting-promotion", []],
    ["running", "stage-failed", "stopped", ["withdraw-open"]],
    ["running", "overtaken", "superseded", ["withdraw-open"]],
    ["running", "pause", "paused", []],
    ["running", "abort", "aborted", ["withdraw-open"]],
    ["running", "roll-back", "rolled-back", ["withdraw-open"]],
    ["paused", "resume", "running", ["offer"]],
    ["paused", "stage-failed", "stopped", ["withdraw-open"]],
    ["awaiting-promotion", "promoted", "running", ["next-stage"]],
    ["awaiting-promotion", "last-stage-promoted", "completed", []],
    ["awaiting-promotion", "stage-failed", "stopped", ["withdraw-open"]],
    ["completed", "stage-failed", "stopped", ["withdraw-open"]],
    ["completed", "roll-back", "rolled-back", ["withdraw-open"]],
    ["stopped", "roll-back", "rolled-back", []],
  ])("%s, %s: %s", (from, event, to, effects) => {
    const next = step(from, state, { event, why: "so", nowMs: 9 });
    expect(next.status).toBe(to);
    expect(next.effects).toEqual(effects);
    const begins = effects.includes("next-stage") || effects.includes("first-stage");
    expect(next.state.stage).toBe(effects.includes("next-stage") ? 1 : 0);
    expect(next.state.stageStartedAtMs).toBe(begins ? 9 : 1);
  });

  it("refuses what its table does not name", () => {
    for (const from of rolloutStatuses) {
      for (const event of events) {
        const known = transitions.some((row) => row.from === from && row.on === event);
        const take = () => step(from, state, { event, why: "", nowMs: 9 });
        if (known) expect(take).not.toThrow();
        else expect(take).toThrow(expect.objectContaining({ code: "conflict" }));
      }
    }
  });

  it("takes nothing out of what ended but the rollback", () => {
    for (const ended of ["stopped", "aborted", "superseded", "rolled-back"]) {
      const left = transitions.filter(({ from }) => from === ended).map(({ on }) => on);
      expect(left).toEqual(ended === "rolled-back" ? [] : ["roll-back"]);
    }
  });

  it("can be aborted in every status that lives, and offers only where it may", () => {
    expect(liveStatuses).toEqual(["awaiting-approval", "running", "paused", "awaiting-promotion"]);
    expect(offeringStatuses).toEqual(["running", "awaiting-promotion", "completed"]);
  });

  it("keeps every verdict of a stage with its reason and times", () => {
    const held = step("running", state, { event: "stage-inconclusive", why: "two", nowMs: 5 });
    const gone = step(held.status, held.state, { event: "stage-passed", why: "late", nowMs: 9 });
    expect(gone.state.history).toEqual([
      { stage: 0, event: "stage-inconclusive", why: "two", startedAtMs: 1, atMs: 5 },
      { stage: 0, event: "stage-passed", why: "late", startedAtMs: 1, atMs: 9 },
    ]);
    expect(step("running", state, { event: "pause", why: "", nowMs: 9 }).state).toEqual(state);
  });

  it("names the end of the last stage", () => {
    expect(endingStage(state, "passed")).toBe("stage-passed");
    expect(endingStage({ ...state, stage: 1 }, "passed")).toBe("last-stage-passed");
    expect(endingStage(state, "promoted")).toBe("promoted");
    expect(endingStage({ ...state, stage: 1 }, "promoted")).toBe("last-stage-promoted");
  });
});
