/** Why a rollout was stopped, expanded or promoted, with the numbers. */
import type { EvidenceAnswer, StrataAnswer } from "../../../shared/api/routes/evidence.ts";
import { durationWords } from "../../../shared/duration-words.ts";
import { FleetError } from "../../../shared/errors.ts";
import { type CommandGroup, clientOf, query } from "../command.ts";
import { show, table, time } from "../output.ts";

const exampleId = "r-0a1b2c3d4e";
/** Tests that have come less far than this say nothing that a person would want to read. */
const logEShown = 0;

export const evidenceCommands: CommandGroup = {
  add(program, io) {
    const evidence = program
      .command("evidence")
      .description("what the verdicts of a rollout rest on");
    query(evidence, "show <rollout>", "counts, tests and every decision with its reason", [
      `evidence show ${exampleId}`,
      `evidence show ${exampleId} --json`,
    ]).action(async (id: string, options) => {
      const params = { rollout: id };
      const answer = await clientOf(io, options).call("getEvidence", { params });
      show(io, options, answer, describe);
    });
    query(evidence, "strata <rollout>", "what each region and class says alone: where to look", [
      `evidence strata ${exampleId}`,
      `evidence strata ${exampleId} --json`,
    ]).action(async (id: string, options) => {
      const params = { rollout: id };
      const answer = await clientOf(io, options).call("getStrata", { params });
      show(io, options, answer, describeStrata);
    });
    query(evidence, "ledger <rollout>", "every row of the ledger, oldest first", [
      `evidence ledger ${exampleId} --json`,
      `evidence ledger ${exampleId} --after 1000`,
    ])
      .option("--after <sequence>", "rows after this number", "-1")
      .action(async (id: string, options) => {
        const request = { params: { rollout: id }, query: { after: Number(options.after) } };
        const answer = await clientOf(io, options).call("getLedger", request);
        show(io, options, answer, ({ rows }) =>
          table(
            ["row", "time", "entry"],
            rows.map(({ sequence, atMs, body }) => [sequence, time(atMs), JSON.stringify(body)]),
            "There is no such row.",
          ),
        );
      });
    query(evidence, "replay <rollout>", "compute every decision again from the ledger", [
      `evidence replay ${exampleId}`,
    ]).action(async (id: string, options) => {
      const params = { rollout: id };
      const answer = await clientOf(io, options).call("getEvidence", { params });
      const wrong = answer.decisions.filter(({ replays }) => !replays);
      show(
        io,
        options,
        answer,
        ({ decisions }) =>
          `${decisions.length - wrong.length} of ${decisions.length} decisions come to the same values.`,
      );
      if (wrong.length === 0) return;
      const rows = wrong.map(({ sequence }) => sequence).join(", ");
      throw new FleetError("ledger-differs", `the ledger of ${id} does not give decisions ${rows}`);
    });
  },
};

function describe(answer: EvidenceAnswer): string {
  const { offered, passed, rolledBack, failed, harmed, well, pairs } = answer;
  const tests = [
    ...answer.stopping.map((test) => ({ ...test, does: "rolls back" })),
    ...answer.promoting.map((test) => ({ ...test, does: "promotes" })),
  ];
  return [
    `${offered} offered: ${passed} passed their trial, ${rolledBack} rolled back, ${failed} failed; ` +
      `${well} ended their soak well, ${harmed} harmed; ${pairs} pairs compared`,
    table(
      ["signal", "after", "pairs", "mean drop", "evidence of harm", "needed"],
      answer.signals.map(({ signal, horizonMs, pairs, meanDrop, logE, logThreshold }) => [
        signal,
        after(horizonMs),
        pairs,
        points(meanDrop),
        logThreshold === null ? "" : eValue(logE),
        logThreshold === null ? "" : eValue(logThreshold),
      ]),
      "Nothing is compared.",
    ),
    table(
      ["test", "stratum", "evidence", "needed", "then it"],
      tests
        .filter(({ logE, does }) => does === "promotes" || (logE ?? 1) > logEShown)
        .map((test) => [
          test.name,
          test.stratum,
          eValue(test.logE),
          eValue(test.logThreshold),
          test.does,
        ]),
      "No test has any evidence yet.",
    ),
    table(
      ["time", "stage", "verdict", "why"],
      answer.decisions.map(({ atMs, stage, verdict, why }) => [time(atMs), stage, verdict, why]),
      "Nothing was decided yet.",
    ),
  ].join("\n\n");
}

function describeStrata({ falseDiscoveryRate, strata }: StrataAnswer): string {
  const suspected = strata.filter((each) => each.suspected).length;
  return [
    table(
      ["stratum", "evidence", "suspected", "signal", "after", "pairs", "mean drop", "taken back"],
      strata.flatMap(({ stratum, logE, suspected, excluded, tests }) =>
        compared(tests).map(({ signal, horizonMs, pairs, meanDrop }) => [
          stratum,
          eValue(logE),
          suspected ? "yes" : "",
          signal,
          after(horizonMs),
          pairs,
          points(meanDrop),
          excluded,
        ]),
      ),
      "It has no stratum.",
    ),
    `${suspected} of ${strata.length} strata are suspected. Of those that one look names, at most ${falseDiscoveryRate * 100} % are expected to be healthy; names of several looks together have no such bound. It stops nothing.`,
  ].join("\n\n");
}

type StratumTest = StrataAnswer["strata"][number]["tests"][number];

/** What there are pairs of; a stratum without any has one line all the same. */
function compared(tests: readonly StratumTest[]): readonly StratumTest[] {
  const some = tests.filter(({ pairs }) => pairs > 0);
  return some.length === 0 ? tests.slice(0, 1) : some;
}

function after(horizonMs: number): string {
  return horizonMs === 0 ? "the trial" : durationWords(horizonMs);
}

function points(drop: number | null): string {
  return drop === null ? "" : `${(drop * 100).toFixed(2)} %`;
}

function eValue(logE: number | null): string {
  if (logE === null) return "beyond any number";
  return logE > Math.log(1e6) ? `1e${Math.floor(logE / Math.LN10)}` : Math.exp(logE).toPrecision(3);
}
