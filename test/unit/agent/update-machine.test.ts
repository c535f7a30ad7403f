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

describe("a step", () => {
  it("walks a good update to its commit", () => {
    let progress = at("idle");
    for (const event of [
      "targeted",
      "downloaded",
      "verified",
      "installed",
      "passed",
      "serving",
    ] as const) {
      progress = step(progress, event).progress;
    }
    expect(progress).toMatchObject({ state: "committed", steps: 6 });
  });
  it("walks a control to its observation without touching a slot", () => {
    const effects = ["targeted", "downloaded", "controlled", "observed"] as const;
    let progress = at("idle");
    const seen = effects.map((event) => {
      const next = step(progress, event);
      progress = next.progress;
      return next.effect;
    });
    expect(progress.state).toBe("observed");
    expect(seen).toEqual(["download", "verify", "observe", "leave"]);
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
  it("in a download may happen often, but not for ever", () => {
    expect(resume(at("downloading", { steps: stepsMax - 1 })).progress.state).toBe("downloading");
    expect(resume(at("downloading", { steps: stepsMax })).progress.state).toBe("failed");
  });
});
