/** What is suspected of released models. */
import { type CommandGroup, clientOf, query } from "../command.ts";
import { show, table, time } from "../output.ts";

export const alarmCommands: CommandGroup = {
  add(program, io) {
    const alarm = program.command("alarm").description("regressions suspected after a rollout");
    query(alarm, "list", "every alarm, newest first; nothing is taken back by itself", [
      "alarm list",
      "alarm list --json",
    ]).action(async (options) => {
      const answer = await clientOf(io, options).call("listAlarms");
      show(io, options, answer, ({ alarms }) =>
        table(
          ["time", "rollout", "model", "region", "what was seen"],
          alarms.map(({ alarmedAtMs, rollout, model, version, region, message }) => [
            time(alarmedAtMs),
            rollout,
            `${model} ${version}`,
            region,
            message,
          ]),
          "Nothing is suspected.",
        ),
      );
    });
  },
};
