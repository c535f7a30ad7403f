/** How every command is made: with examples, and with the flags that name the controller. */
import type { Command } from "commander";
import { type Client, type ConnectionFlags, connect, dataDirDefault } from "./client.ts";
import type { CliIo } from "./io.ts";

/** What a command is made from. */
export interface CommandGroup {
  /** Adds its commands below `program`. */
  readonly add: (program: Command, io: CliIo) => void;
}

export function withExamples(command: Command, examples: readonly string[]): Command {
  const lines = examples.map((example) => `  $ fleetfit ${example}`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}

/** Flags of commands that talk to a controller. */
export function withConnection(command: Command): Command {
  return command
    .option("--url <url>", "address of the controller (or FLEETFIT_URL)")
    .option("--token-file <file>", "file with the API token (or FLEETFIT_TOKEN)")
    .option(
      "--data-dir <dir>",
      `folder of a controller on this machine (or FLEETFIT_DATA_DIR; ${dataDirDefault})`,
    );
}

export function withJson(command: Command): Command {
  return command.option("--json", "print JSON instead of a table");
}

/** A command that asks the controller for something and prints it. */
export function query(
  parent: Command,
  usage: string,
  summary: string,
  examples: readonly string[],
): Command {
  const command = parent.command(usage).description(summary);
  return withExamples(withJson(withConnection(command)), examples);
}

/** A command that changes something. */
export function action(
  parent: Command,
  usage: string,
  summary: string,
  examples: readonly string[],
): Command {
  return query(parent, usage, summary, examples);
}

export function clientOf(io: CliIo, options: unknown): Client {
  return connect(io, options as ConnectionFlags);
}

/** Collects a flag that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}
