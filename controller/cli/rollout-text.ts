/** A rollout for people: what it is, its stages as a timeline with the reason of each verdict, its attempts. */
import type { RateAnswer, RolloutAnswer } from "../../shared/api/routes/rollouts.ts";
import { type Cell, facts, table, time } from "./output.ts";

type StageAnswer = RolloutAnswer["timeline"][number];

const countNames: readonly (readonly [keyof NonNullable<StageAnswer["counts"]>, string])[] = [
  ["committed", "committed"],
  ["rolledBack", "rolled back"],
  ["silent", "silent"],
  ["other", "failed"],
  ["open", "under way"],
  ["waiting", "waiting"],
  ["pending", "to be offered"],
  ["away", "away"],
  ["held", "left out"],
  ["taken", "taken by a newer rollout"],
  ["excluded", "taken back with their region and class"],
];

export function describeRollout(rollout: RolloutAnswer): string {
  return [
    facts(head(rollout)),
    table(
      ["stage", "began", "ended", "devices", "verdict", "why"],
      rollout.timeline.map((stage, at) => [
        stage.name,
        time(stage.startedAtMs),
        time(stage.endedAtMs),
        counts(stage),
        stage.verdict ?? (at === rollout.stage && stage.startedAtMs !== null ? "under way" : ""),
        stage.why,
      ]),
      "It has no stage.",
    ),
    table(
      ["device", "stage", "recipe", "state", "decided", "why"],
      rollout.attempts.map((attempt) => [
        attempt.retry === 0 ? attempt.device : `${attempt.device} (retry ${attempt.retry})`,
        rollout.stages[attempt.stage]?.name,
        attempt.recipe,
        attempt.outcome ?? attempt.status,
        time(attempt.decidedAtMs),
        attempt.why,
      ]),
      "No device was offered anything yet.",
    ),
  ].join("\n\n");
}

function head(rollout: RolloutAnswer): (readonly [string, Cell])[] {
  const { kind, restores, proof, approvals, approvalsNeeded } = rollout;
  return [
    ["rollout", rollout.id],
    ["model", `${rollout.model} ${rollout.version}`],
    ["kind", restores === null ? kind : `${kind} of ${restores}`],
    ["status", rollout.status],
    ["why", rollout.reason],
    ...(rollout.power === null ? [] : [["can prove", rollout.power] as const]),
    ...(proof === null ? [] : [["proof", `${proof.proven} of ${proof.of} proven`] as const]),
    ...(approvalsNeeded === 0
      ? []
      : [
          [
            "approved",
            `${approvals.length} of ${approvalsNeeded} (${approvals.join(", ")})`,
          ] as const,
        ]),
    ...rollout.excluded.map(({ stratum, why, atMs, campaign }) => {
      const back = campaign === null ? "" : `, ${campaign} brings back what it ran before`;
      return ["taken back", `${stratum} at ${time(atMs)}${back}: ${why}`] as const;
    }),
    ["release counter", rollout.releaseCounter],
    ["seed", rollout.seed],
    ["started", `${time(rollout.createdAtMs)} by ${rollout.startedBy}`],
  ];
}

function counts({ counts }: StageAnswer): string {
  if (counts === null) return "";
  return countNames
    .filter(([name]) => counts[name] > 0)
    .map(([name, word]) => `${counts[name]} ${word}`)
    .join(", ");
}

/** `1 of 4000 (promised at most 0.1 %, 95 % interval 0.0006 % to 0.14 %)`. */
export function describeRate({ observed, n, promised, low, high }: RateAnswer): string {
  const percent = (fraction: number) => `${Number((fraction * 100).toPrecision(2))} %`;
  return `${observed} of ${n} (promised at most ${percent(promised)}, 95 % interval ${percent(low)} to ${percent(high)})`;
}
