/** Rollouts. */
import { InvalidArgumentError } from "commander";
import type { RolloutAnswer } from "../../../shared/api/routes/rollouts.ts";
import { type Stage, stageSchema } from "../../../shared/api/stages.ts";
import { FleetError } from "../../../shared/errors.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { facts, progress, show, table, time } from "../output.ts";

/** How often a watched rollout is looked at, in ms. */
const pollMs = 500;

const stagesHelp =
  "name=selector; may be repeated. Selectors: per-class:1, count:10, percent:25, regions:a,b, classes:a,b, devices:a,b, all";

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
          ["rollout", "model", "version", "status", "stage", "started", "why"],
          rollouts.map((each) => [
            each.id,
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
    query(rollout, "show <rollout>", "one rollout with every attempt", [
      "rollout show r-0a1b2c3d4e5f",
      "rollout show r-0a1b2c3d4e5f --json",
    ]).action(async (id: string, options) => {
      const answer = await clientOf(io, options).call("getRollout", { params: { rollout: id } });
      show(io, options, answer, describe);
    });
    for (const [verb, name, summary] of [
      ["pause", "pauseRollout", "offer nothing more until it is resumed"],
      ["resume", "resumeRollout", "let a paused rollout go on"],
      ["abort", "abortRollout", "end a rollout; devices that committed keep what they run"],
    ] as const) {
      action(rollout, `${verb} <rollout>`, summary, [
        `rollout ${verb} r-0a1b2c3d4e5f`,
        `rollout ${verb} r-0a1b2c3d4e5f --reason "asked by the night shift"`,
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
  },
};

function addStart(...[rollout, io]: Parameters<CommandGroup["add"]>): void {
  action(rollout, "start <model> <version>", "one canary per class first, then everybody", [
    "rollout start digits 1",
    "rollout start digits 2 --watch",
    "rollout start digits 2 --stage canary=per-class:1 --stage europe=regions:eu-west --stage rest=all",
  ])
    .option("--stage <stage>", stagesHelp, collectStages)
    .option("--watch", "wait until it has ended; fails unless it was completed")
    .action(async (model: string, version: string, options) => {
      const client = clientOf(io, options);
      const stages: Stage[] | undefined = options.stage;
      let answer = await client.call("startRollout", {
        body: { model, version, ...(stages === undefined ? {} : { stages }) },
      });
      if (options.watch === true) {
        const bar = progress(io, `rollout ${answer.id}`);
        while (answer.status === "running" || answer.status === "paused") {
          await io.sleep(pollMs);
          answer = await client.call("getRollout", { params: { rollout: answer.id } });
          const decided = answer.attempts.filter(({ status }) => status === "decided").length;
          const stage = answer.stages[answer.stage]?.name ?? "";
          bar.set(
            decided / Math.max(1, answer.attempts.length),
            `${answer.status}, stage ${stage}, ${decided} of ${answer.attempts.length} decided`,
          );
        }
        bar.end();
      }
      show(io, options, answer, describe);
      if (answer.status === "stopped" || answer.status === "aborted") {
        const { id, status, reason } = answer;
        throw new FleetError(
          "rollout-stopped",
          `${id} was ${status}: ${reason ?? "no reason given"}`,
        );
      }
    });
}

function collectStages(text: string, previous: readonly Stage[] | undefined): Stage[] {
  return [...(previous ?? []), parseStage(text)];
}

/** `canary=per-class:1` and the like. */
export function parseStage(text: string): Stage {
  const [, name, by, value = ""] = /^([^=]+)=([a-z-]+)(?::(.*))?$/.exec(text) ?? [];
  const list = value.split(",").filter((item) => item !== "");
  const select = {
    by,
    ...(by === "percent" ? { percent: Number(value) } : {}),
    ...(by === "per-class" || by === "count" ? { count: Number(value) } : {}),
    ...(by === "regions" ? { regions: list } : {}),
    ...(by === "classes" ? { classes: list } : {}),
    ...(by === "devices" ? { devices: list } : {}),
  };
  const parsed = stageSchema.safeParse({ name, select });
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(stagesHelp);
}

function describe(rollout: RolloutAnswer): string {
  return [
    facts([
      ["rollout", rollout.id],
      ["model", `${rollout.model} ${rollout.version}`],
      ["status", rollout.status],
      ["why", rollout.reason],
      ["stages", rollout.stages.map(({ name }) => name).join(" → ")],
      ["release counter", rollout.releaseCounter],
      ["started", time(rollout.createdAtMs)],
    ]),
    table(
      ["device", "stage", "recipe", "state", "decided", "why"],
      rollout.attempts.map((attempt) => [
        attempt.device,
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
