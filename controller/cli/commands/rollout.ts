/** Rollouts. */

import { readFileSync } from "node:fs";
import { Option } from "commander";
import type { RolloutAnswer } from "../../../shared/api/routes/rollouts.ts";
import { type StageOrder, stageSchema } from "../../../shared/api/stages.ts";
import { FleetError } from "../../../shared/errors.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { progress, show, table, time } from "../output.ts";
import { describeRate, describeRollout } from "../rollout-text.ts";
import { parseStage, stagesHelp } from "../stage-text.ts";

/** How often a watched rollout is looked at, in ms. */
const pollMs = 500;
const exampleId = "r-0a1b2c3d4e";

export const rolloutCommands: CommandGroup = {
  add(program, io) {
    const rollout = program
      .command("rollout")
      .description("bring a version to the fleet, stage by stage");
    addStart(rollout, io);
    query(rollout, "list", "all rollouts, newest first", [
      "rollout list",
      "rollout list --json",
    ]).action(async (options) => {
      const answer = await clientOf(io, options).call("listRollouts");
      show(io, options, answer, ({ rollouts }) =>
        table(
          ["rollout", "kind", "model", "version", "status", "stage", "started", "why"],
          rollouts.map((each) => [
            each.id,
            each.kind,
            each.model,
            each.version,
            each.status,
            each.stages[each.stage]?.name,
            time(each.createdAtMs),
            each.reason,
          ]),
          "There was no rollout yet.",
        ),
      );
    });
    query(rollout, "show <rollout>", "one rollout: stages with their verdicts, every attempt", [
      "rollout show r-0a1b2c3d4e",
      "rollout show r-0a1b2c3d4e --json",
    ]).action(async (id: string, options) => {
      const answer = await clientOf(io, options).call("getRollout", { params: { rollout: id } });
      show(io, options, answer, describeRollout);
    });
    for (const [verb, name, summary] of [
      ["pause", "pauseRollout", "offer nothing more until it is resumed"],
      ["resume", "resumeRollout", "let a paused rollout go on"],
      ["abort", "abortRollout", "end a rollout; devices that committed keep what they run"],
      ["promote", "promoteRollout", "let a stage that waits for a person pass"],
    ] as const) {
      action(rollout, `${verb} <rollout>`, summary, [
        `rollout ${verb} r-0a1b2c3d4e`,
        `rollout ${verb} r-0a1b2c3d4e --reason "asked by the night shift"`,
      ])
        .option("--reason <text>", "why, for the record")
        .action(async (id: string, options) => {
          const answer = await clientOf(io, options).call(name, {
            params: { rollout: id },
            body: options.reason === undefined ? {} : { reason: options.reason },
          });
          show(io, options, answer, ({ status }) => `${id} is ${status}.`);
        });
    }
    addApprove(rollout, io);
    addRollback(rollout, io);
    addCalibration(rollout, io);
  },
};

function addApprove(...[rollout, io]: Parameters<CommandGroup["add"]>): void {
  action(
    rollout,
    "approve <rollout>",
    "agree that a rollout which somebody else started may begin",
    [`rollout approve ${exampleId}`, `rollout approve ${exampleId} --token-file bob.token`],
  ).action(async (id: string, options) => {
    const params = { rollout: id };
    const answer = await clientOf(io, options).call("approveRollout", { params });
    show(
      io,
      options,
      answer,
      ({ status, approvals, approvalsNeeded }) =>
        `${id} is ${status}, approved by ${approvals.length} of ${approvalsNeeded}.`,
    );
  });
}

function addRollback(...[rollout, io]: Parameters<CommandGroup["add"]>): void {
  action(
    rollout,
    "rollback <rollout>",
    "end a rollout and bring every device that committed it what it ran before",
    [
      `rollout rollback ${exampleId} --reason "complaints from the field"`,
      `rollout rollback ${exampleId} --watch`,
    ],
  )
    .option("--reason <text>", "why, for the record")
    .option("--watch", "wait until every device is proven to serve the old bundle")
    .action(async (id: string, options) => {
      const client = clientOf(io, options);
      const body = options.reason === undefined ? {} : { reason: options.reason };
      let answer = await client.call("rollBackRollout", { params: { rollout: id }, body });
      if (options.watch === true) answer = await watch(io, client, answer);
      show(io, options, answer, describeRollout);
      failUnlessCompleted(answer, options.watch === true);
    });
}

function addCalibration(...[rollout, io]: Parameters<CommandGroup["add"]>): void {
  query(rollout, "calibration", "false rollbacks seen in A/A rollouts, beside what is promised", [
    "rollout start digits 2 --aa --watch",
    "rollout calibration",
    "rollout calibration --json",
  ]).action(async (options) => {
    const answer = await clientOf(io, options).call("getCalibration");
    show(io, options, answer, ({ devices, rollouts, each }) =>
      [
        `devices that rolled back:  ${describeRate(devices)}`,
        `rollouts that stopped:     ${describeRate(rollouts)}`,
        table(
          ["rollout", "model", "version", "status", "started", "rolled back"],
          each.map((one) => [
            one.rollout,
            one.model,
            one.version,
            one.status,
            time(one.createdAtMs),
            describeRate(one.devices),
          ]),
          "There was no A/A rollout yet: start one with --aa.",
        ),
      ].join("\n"),
    );
  });
}

function addStart(...[rollout, io]: Parameters<CommandGroup["add"]>): void {
  action(rollout, "start <model> <version>", "one canary per class first, then everybody", [
    "rollout start digits 1",
    "rollout start digits 2 --watch",
    "rollout start digits 2 --stage canary=per-class:1 --stage europe=regions:eu-west --stage rest=all",
    "rollout start digits 2 --stage 'shop=query:labels.site=paris@10%;manual;soak=2h' --stage 'rest=all;concurrent=20'",
    "rollout start digits 2 --gate automatic --watch",
    "rollout start digits 2 --aa",
  ])
    .option("--stage <stage>", stagesHelp, collectStages)
    .option("--stages-file <file>", "JSON list of stages, for what --stage cannot say")
    .option("--aa", "the bundle that devices run already: a test of the gates")
    .option("--seed <text>", "of the random selection; drawn when left out")
    .addOption(
      new Option(
        "--judge <judge>",
        "what lets the whole fleet have it; by default proof where the fleet is large enough",
      ).choices(["e-process", "group-sequential", "device-gates"]),
    )
    .addOption(
      new Option(
        "--gate <gate>",
        "before the whole fleet, without --stage; by default a person where nothing is proven",
      ).choices(["automatic", "manual"]),
    )
    .addOption(
      new Option(
        "--on-harm <what>",
        "for devices that committed a harmful release (roll-back)",
      ).choices(["roll-back", "stop"]),
    )
    .addOption(
      new Option(
        "--on-stratum-harm <what>",
        "when one region and class alone proves harm: take it back alone, or stop (exclude)",
      ).choices(["exclude", "stop"]),
    )
    .option(
      "--watch",
      "wait until it has ended or waits for a person; fails unless it was completed",
    )
    .action(async (model: string, version: string, options) => {
      const client = clientOf(io, options);
      const stages =
        options.stagesFile === undefined ? options.stage : readStages(options.stagesFile);
      let answer = await client.call("startRollout", {
        body: {
          model,
          version,
          ...(stages === undefined ? {} : { stages }),
          ...(options.aa === true ? { aa: true } : {}),
          ...(options.seed === undefined ? {} : { seed: options.seed }),
          ...(options.judge === undefined ? {} : { judge: options.judge }),
          ...(options.gate === undefined ? {} : { gate: options.gate }),
          ...(options.onHarm === undefined ? {} : { onHarm: options.onHarm }),
          ...(options.onStratumHarm === undefined ? {} : { onStratumHarm: options.onStratumHarm }),
        },
      });
      if (options.watch === true) answer = await watch(io, client, answer);
      show(io, options, answer, describeRollout);
      failUnlessCompleted(answer, options.watch === true);
    });
}

/** Looks at a rollout until it has ended or waits for a person. */
async function watch(
  io: Parameters<CommandGroup["add"]>[1],
  client: ReturnType<typeof clientOf>,
  started: RolloutAnswer,
): Promise<RolloutAnswer> {
  const bar = progress(io, `rollout ${started.id}`);
  let answer = started;
  while (answer.status === "running" || answer.status === "paused") {
    await io.sleep(pollMs);
    answer = await client.call("getRollout", { params: { rollout: answer.id } });
    const decided = answer.attempts.filter(({ status }) => status === "decided").length;
    const stage = answer.stages[answer.stage]?.name ?? "";
    const { proof } = answer;
    const proven = proof === null ? "" : `, ${proof.proven} of ${proof.of} proven`;
    bar.set(
      decided / Math.max(1, answer.attempts.length),
      `${answer.status}, stage ${stage}, ${decided} of ${answer.attempts.length} decided${proven}`,
    );
  }
  bar.end();
  return answer;
}

/** A watched rollout that waits for a person has not done what was asked either. */
function failUnlessCompleted({ id, status, reason }: RolloutAnswer, watched: boolean): void {
  const ended = !["running", "paused", "completed", "awaiting-approval"].includes(status);
  const failed = status === "awaiting-promotion" ? watched : ended;
  if (!failed) return;
  throw new FleetError("rollout-stopped", `${id} is ${status}: ${reason ?? "no reason given"}`);
}

function readStages(file: string): StageOrder[] {
  let stored: unknown;
  try {
    stored = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new FleetError("file-unusable", `${file}: ${String(cause)}`, { cause });
  }
  const parsed = stageSchema.array().safeParse(stored);
  if (parsed.success) return parsed.data;
  throw new FleetError("input-invalid", `${file}: ${parsed.error.message}`, {
    cause: parsed.error,
  });
}

function collectStages(text: string, previous: readonly StageOrder[] | undefined): StageOrder[] {
  return [...(previous ?? []), parseStage(text)];
}
