/** The update machine: every row can be reached, every state can be resumed, every loop ends. */
import { describe, expect, it } from "vitest";
import {
  allows,
  resume,
  resumesMax,
  step,
  stepsMax,
  type UpdateProgress,
} from "../../../agent/update/machine.ts";
import {
  isOutcome,
  mayNotReturn,
  patient,
  resumeEffects,
  transitions,
  type UpdateState,
} from "../../../agent/update/transitions.ts";

const at = (state: UpdateState, change: Partial<UpdateProgress> = {}): UpdateProgress => ({
  state,
  resumes: 0,
  steps: 0,
  ...change,
});
const states = [...new Set(transitions.flatMap(({ from, to }) => [from, to]))];

describe("the table", () => {
  it("has one row per state and event", () => {
    const keys = transitions.map(({ from, on }) => `${from}/${on}`);
    expect(new Set(keys).size).toBe(keys.length);
  });
  it("enters each state with one effect, so that a restart knows what to do again", () => {
    for (const state of states.filter((one) => !isOutcome(one))) {
      const effects = new Set(
        transitions.filter(({ to }) => to === state).map(({ effect }) => effect),
      );
      if (state !== "idle") expect(effects.size, state).toBe(1);
    }
  });
  it("reaches every state from idle and leaves no outcome", () => {
    const reached = new Set<UpdateState>(["idle"]);
    for (let round = 0; round < states.length; round++) {
      for (const { from, to } of transitions) if (reached.has(from)) reached.add(to);
    }
    expect([...reached].sort()).toEqual([...states].sort());
    expect(transitions.filter(({ from }) => isOutcome(from))).toEqual([]);
  });
  it("never ends a switch because somebody changed their mind", () => {
    expect(allows(at("switching"), "withdrawn")).toBe(false);
    expect(allows(at("trialing"), "withdrawn")).toBe(true);
  });
});

describe("waiting", () => {
  it("stands between the verified bundle and the first write to a slot", () => {
    const into = transitions.filter(({ to }) => to === "installing");
    expect(into.map(({ from, on }) => `${from}/${on}`)).toEqual(["waiting/permitted"]);
    expect(step(at("verifying"), "verified").progress.state).toBe("waiting");
  });
  it("is not counted as a step, and so never ends an update by itself", () => {
    expect(step(at("verifying", { steps: stepsMax }), "verified").progress).toMatchObject({
      state: "waiting",
      steps: stepsMax,
    });
  });
  it("ends when nobody wants the update any more, and leaves the slot as it was", () => {
    expect(step(at("waiting"), "withdrawn")).toMatchObject({
      effect: "leave",
      progress: { state: "superseded" },
    });
    expect(step(at("holding"), "withdrawn")).toMatchObject({
      effect: "discard",
      progress: { state: "superseded" },
    });
  });
  it("begins again right before the switch when a hold came during the trial", () => {
    const held = step(at("trialing"), "held").progress;
    expect(held.state).toBe("holding");
    expect(step(held, "released")).toMatchObject({
      effect: "switch",
      progress: { state: "switching" },
    });
    expect(allows(at("switching"), "held")).toBe(false);
  });
});

describe("a step", () => {
  it("walks a good update to its commit", () => {
    let progress = at("idle");
    for (const event of [
      "targeted",
      "downloaded",
      "verified",
      "permitted",
      "installed",
      "passed",
      "serving",
    ] as const) {
      progress = step(progress, event).progress;
    }
    expect(progress).toMatchObject({ state: "committed", steps: 6 });
  });
  it("walks a control to its observation without touching a slot", () => {
    const effects = ["targeted", "downloaded", "verified", "controlled", "observed"] as const;
    let progress = at("idle");
    const seen = effects.map((event) => {
      const next = step(progress, event);
      progress = next.progress;
      return next.effect;
    });
    expect(progress.state).toBe("observed");
    expect(seen).toEqual(["download", "verify", "await-permission", "observe", "leave"]);
    const ways = transitions.filter(({ from }) => from === "observing");
    expect(new Set(ways.map(({ effect }) => effect))).toEqual(new Set(["leave"]));
  });
  it("refuses an event that does not fit", () => {
    expect(() => step(at("downloading"), "passed")).toThrow(/assertion failed/);
  });
});

describe("a restart", () => {
  it.each([...resumeEffects])("in %s does %s again", (state, effect) => {
    expect(resume(at(state))).toMatchObject({ effect, progress: { state } });
  });
  it.each([
    ["trialing", "discard", "rolled-back"],
    ["switching", "discard", "rolled-back"],
    ["observing", "leave", "failed"],
  ] as const)("in %s ends after so many tries with the old model", (state, effect, end) => {
    expect([...mayNotReturn]).toContain(state);
    let progress = at(state);
    for (let time = 0; time < resumesMax; time++) progress = resume(progress).progress;
    expect(progress.state).toBe(state);
    expect(resume(progress)).toMatchObject({
      effect,
      progress: { state: end },
    });
  });
  it.each([...patient])("in %s costs nothing, however often it happens", (state) => {
    let progress = at(state, { steps: stepsMax, resumes: resumesMax });
    for (let time = 0; time < 100; time++) progress = resume(progress).progress;
    expect(progress).toEqual(at(state, { steps: stepsMax, resumes: resumesMax }));
  });
  it("in a download may happen often, but not for ever", () => {
    expect(resume(at("downloading", { steps: stepsMax - 1 })).progress.state).toBe("downloading");
    expect(resume(at("downloading", { steps: stepsMax })).progress.state).toBe("failed");
  });
});
