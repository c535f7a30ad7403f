/** The kill switch. */
import type { HoldAnswer } from "../../../shared/api/routes/holds.ts";
import type { HoldScope } from "../../../shared/artifact/hold.ts";
import { FleetError } from "../../../shared/errors.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { show, table, time } from "../output.ts";

export const holdCommands: CommandGroup = {
  add(program, io) {
    const hold = program
      .command("hold")
      .description("kill switch: no device of a region, or none at all, installs anything");
    addChange(hold, io, {
      verb: "set",
      held: true,
      summary: "hold installs now; what already switches to its new model ends normally",
      example: "the new sensor batch reads wrong",
    });
    addChange(hold, io, {
      verb: "release",
      held: false,
      summary: "let installs go on",
      example: "sensors were replaced",
    });
    query(hold, "list", "every hold and release, and how many devices know it", [
      "hold list",
      "hold list --json",
    ]).action(async (options) => {
      const answer = await clientOf(io, options).call("listHolds");
      show(io, options, answer, ({ holds }) =>
        table(
          ["scope", "state", "since", "why", "devices"],
          holds.map((each) => [
            scopeName(each.scope),
            each.held ? "held" : "released",
            time(each.issuedAtMs),
            each.reason,
            reach(each),
          ]),
          "Nothing was ever held.",
        ),
      );
    });
  },
};

function addChange(
  hold: Parameters<CommandGroup["add"]>[0],
  io: Parameters<CommandGroup["add"]>[1],
  change: { verb: string; held: boolean; summary: string; example: string },
): void {
  const { verb, held } = change;
  action(hold, verb, change.summary, [
    `hold ${verb} --region eu-west --reason "${change.example}"`,
    `hold ${verb} --all --reason "${change.example}"`,
  ])
    .option("--region <region>", "only devices of this region")
    .option("--all", "every device")
    .requiredOption("--reason <text>", "why, for the record and for the devices")
    .action(async (options) => {
      const { reason } = options;
      const body = { scope: scopeOf(options), held, reason };
      const answer = await clientOf(io, options).call("changeHold", { body });
      show(io, options, answer, (each) => {
        const state = each.held ? "held" : "released";
        return `${scopeName(each.scope)}: installs are ${state} (${reach(each)}).`;
      });
    });
}

/** Errors: `input-invalid` unless exactly one scope is named. */
function scopeOf({ region, all }: { region?: string; all?: boolean }): HoldScope {
  if ((region === undefined) === (all !== true)) {
    throw new FleetError("input-invalid", "name either --region or --all");
  }
  return region === undefined ? { kind: "tenant" } : { kind: "region", region };
}

function scopeName(scope: HoldScope): string {
  return scope.kind === "tenant" ? "all devices" : scope.region;
}

function reach({ devices }: HoldAnswer): string {
  const known = `known to ${devices.reached} of ${devices.total}`;
  return devices.tooOld === 0 ? known : `${known}; ${devices.tooOld} have too old an agent`;
}
