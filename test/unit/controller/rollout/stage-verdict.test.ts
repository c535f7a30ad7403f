/** What follows from what the devices of a stage came to. */
import { describe, expect, it } from "vitest";
import {
  afterSoaks,
  noDevices,
  type StageCount,
  type StageEvidence,
  type StageVerdict,
  stageVerdict,
} from "../../../../controller/rollout/stage-verdict.ts";

const hourMs = 3_600_000;

function verdict(
  count: Partial<StageCount>,
  change: Partial<Omit<StageEvidence, "counts">> & { earlier?: Partial<StageCount>[] } = {},
) {
  const { earlier = [], ...rest } = change;
  return stageVerdict({
    counts: [...earlier, count].map((each) => ({ ...noDevices, ...each })),
    isLast: false,
    ageMs: 0,
    settledMs: (count.committed ?? 0) > 0 ? 0 : null,
    deadlineMs: hourMs,
    soakMs: 0,
    ...rest,
  });
}
const late = { ageMs: hourMs };

describe("a stage", () => {
  it.each<[string, Partial<StageCount>, Parameters<typeof verdict>[1], string, RegExp?]>([
    ["waits for what is under way", { open: 1, committed: 2 }, {}, "waiting"],
    ["waits for what there was no room for", { pending: 1, committed: 2 }, late, "waiting"],
    ["waits for who is away", { away: 1, committed: 2 }, {}, "waiting"],
    ["but not past its deadline", { away: 1, committed: 2 }, late, "passed", /1 away/],
    ["passes with all committed", { committed: 3 }, {}, "passed", /3 of 3/],
    ["passes when nobody was left", {}, {}, "passed", /no device was left/],
    ["bears one rollback in a thousand", { committed: 999, rolledBack: 1 }, {}, "passed"],
    ["fails when nobody could be judged", { other: 2 }, {}, "failed", /2 failed/],
    ["fails when all fell silent", { silent: 1 }, late, "failed", /1 silent/],
    [
      "is inconclusive with one of three silent",
      { committed: 2, silent: 1 },
      late,
      "inconclusive",
      /1 silent.*5 %/,
    ],
    ["bears two of a hundred silent", { committed: 98, silent: 2 }, late, "passed", /2 silent/],
    [
      "is not failed by who waits for its window",
      { waiting: 2 },
      late,
      "inconclusive",
      /wait for their window/,
    ],
    ["passes beside who waits", { committed: 2, waiting: 1 }, late, "passed", /2 of 3/],
    ["fails when a first stage met nobody", { away: 2 }, late, "failed", /was there/],
    [
      "passes a later stage of nobody",
      { away: 2 },
      { ...late, earlier: [{ committed: 1 }] },
      "passed",
      /2 away/,
    ],
    ["passes over a stage that was left out", { held: 2 }, {}, "passed", /2 left out/],
    [
      "does not complete with a last stage that was left out",
      { held: 2 },
      { isLast: true },
      "failed",
      /2 left out/,
    ],
    ["ends when a newer rollout has all", { taken: 2 }, {}, "overtaken", /newer/],
    ["goes on with those it kept", { taken: 1, committed: 1 }, {}, "passed"],
  ])("%s", (_what, count, change, kind, why) => {
    const found = verdict(count, change);
    expect(found.kind).toBe(kind);
    if (why !== undefined) expect(found).toMatchObject({ why: expect.stringMatching(why) });
  });

  it("soaks after its last commit", () => {
    expect(verdict({ committed: 1 }, { soakMs: 60_000, settledMs: 59_999 }).kind).toBe("waiting");
    expect(verdict({ committed: 1 }, { soakMs: 60_000, settledMs: 60_000 }).kind).toBe("passed");
  });
});

describe("a stage whose devices are watched", () => {
  const passed = { kind: "passed", why: "20 of 20 devices committed" } as const;
  const judged = (open: number, harmed: number, counted: StageVerdict = passed) =>
    afterSoaks(counted, { committed: 20, open, harmed });

  it("waits for who was not heard of yet", () => {
    expect(judged(1, 0)).toEqual({ kind: "waiting" });
    expect(judged(0, 1)).toEqual(passed);
  });

  it("is inconclusive when more than 5 % took it back or are gone", () => {
    expect(judged(0, 2)).toMatchObject({
      kind: "inconclusive",
      why: expect.stringMatching(/2 of these/),
    });
  });

  it("changes no other verdict", () => {
    const failed = { kind: "failed", why: "all fell silent" } as const;
    expect(judged(1, 5, failed)).toEqual(failed);
  });
});
