/** The command `fleetfit` as a whole: groups of commands, and how failures are told. */
import { Command, CommanderError } from "commander";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { type CommandGroup, withExamples } from "./command.ts";
import { alarmCommands } from "./commands/alarm.ts";
import { compressCommands } from "./commands/compress.ts";
import { deviceCommands } from "./commands/device.ts";
import { evidenceCommands } from "./commands/evidence.ts";
import { goldenCommands } from "./commands/golden.ts";
import { holdCommands } from "./commands/hold.ts";
import { modelCommands } from "./commands/model.ts";
import { programCommands } from "./commands/programs.ts";
import { rolloutCommands } from "./commands/rollout.ts";
import { settingsCommands } from "./commands/settings.ts";
import { soakCommands } from "./commands/soak.ts";
import { tokenCommands } from "./commands/token.ts";
import { programEnded } from "./exit.ts";
import type { CliIo } from "./io.ts";

const groups: readonly CommandGroup[] = [
  programCommands,
  deviceCommands,
  goldenCommands,
  modelCommands,
  compressCommands,
  settingsCommands,
  rolloutCommands,
  holdCommands,
  evidenceCommands,
  alarmCommands,
  tokenCommands,
  soakCommands,
];

export function buildProgram(io: CliIo): Command {
  const program = new Command("fleetfit")
    .description("fits one model to every device of a fleet")
    .showSuggestionAfterError()
    .showHelpAfterError("(add --help for what it takes)")
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.err(text.trimEnd()),
    })
    .enablePositionalOptions();
  withExamples(program, [
    "controller start --data-dir fleetfit-data",
    "device claim --region eu-west --device camera-1 --out camera-1.claim",
    "model import digits.onnx --name digits --version 1 --golden golden/golden.json",
    "compress digits 1",
    "rollout start digits 1 --watch",
  ]);
  for (const group of groups) group.add(program, io);
  throwOnExit(program);
  return program;
}

/** Runs one command line and answers the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function runCli(args: readonly string[], io: CliIo): Promise<number> {
  try {
    await buildProgram(io).parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.code === programEnded) return error.exitCode;
      return error.exitCode === 0 ? 0 : 2;
    }
    const failure = isFleetError(error) ? error : failureOfSystem(error);
    if (failure === undefined) throw error;
    io.err(`fleetfit: ${failure.code}: ${failure.message} – ${failure.remedy}`);
    return 1;
  }
}

/** A file or folder that the operator named and the system refuses; not our fault, so no stack. */
function failureOfSystem(error: unknown): FleetError | undefined {
  if (!(error instanceof Error && "syscall" in error && "path" in error)) return undefined;
  const code = "code" in error && error.code === "ENOSPC" ? "disk-full" : "file-unusable";
  return new FleetError(code, error.message, { cause: error });
}

/** Commander would end the process itself. */
function throwOnExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) throwOnExit(child);
}
