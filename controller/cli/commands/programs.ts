/** Commands that start another program of this package: controller, agent, demo; and backups. */
import { type Command, CommanderError } from "commander";
import { backupController, restoreController } from "../backup.ts";
import { dataDirDefault } from "../client.ts";
import { type CommandGroup, withExamples, withJson } from "../command.ts";
import { programEnded } from "../exit.ts";
import type { CliIo } from "../io.ts";
import { kilobytes, progress, show } from "../output.ts";

/** Hands everything after the command's name to the program. */
function handOver(
  parent: Command,
  io: CliIo,
  options: { name: string; entry: string; summary: string; flags: string; examples: string[] },
): void {
  const command = parent
    .command(options.name)
    .description(options.summary)
    .argument("[flags...]", "flags of the program, listed below")
    .allowUnknownOption()
    .helpOption("-h, --help")
    .addHelpText("after", `\nFlags:\n${options.flags}`)
    .action(async (flags: string[]) => {
      const exitCode = await io.run(options.entry, flags);
      if (exitCode !== 0) throw new CommanderError(exitCode, programEnded, "");
    });
  withExamples(command, options.examples);
}

const controllerFlags = `  --data-dir <dir>           database, files and keys
  --config-dir <dir>         classes.yaml, regions.yaml and recipes.yaml
  --http-port <port>         port of the API (8700)
  --mqtt-port <port>         port of the broker (8883)
  --host <address>           address to listen on (127.0.0.1)
  --public-name <name>       host name or address that devices use; may be repeated
  --http-cert <file>         certificate of the API (PEM); without one it stays on loopback
  --http-key <file>          its private key (PEM)
  --telemetry-window-ms <n>  how long devices count before they report
  --log-level <level>        debug, info, warn or error`;

const agentFlags = `  --data-dir <dir>           where the agent keeps its state
  --claim <file>             claim token, needed once, to enrol
  --serve-port <port>        port of the local inference API on loopback (0: any free one)
  --profile-override <file>  declared hardware as JSON; the device then says emulated: true
  --log-level <level>        debug, info, warn or error`;

export const programCommands: CommandGroup = {
  add(program, io) {
    const controller = program
      .command("controller")
      .description("run, back up and restore a controller");
    handOver(controller, io, {
      name: "start",
      entry: "controller/main.ts",
      summary: "run a controller with its broker, database and API on this machine",
      flags: controllerFlags,
      examples: [
        "controller start --data-dir fleetfit-data",
        "controller start --data-dir fleetfit-data --config-dir my-fleet --http-port 8700",
      ],
    });
    addBackup(controller, io);
    addRestore(controller, io);
    const agent = program.command("agent").description("run an agent");
    handOver(agent, io, {
      name: "start",
      entry: "agent/main.ts",
      summary: "run the agent of a device",
      flags: agentFlags,
      examples: ["agent start --data-dir /var/lib/fleetfit --claim claim.txt --serve-port 8600"],
    });
    handOver(program, io, {
      name: "demo",
      entry: "scripts/demo/main.ts",
      summary: "the whole product on this machine: six devices, three versions, one of them bad",
      flags:
        "  --keep           leave everything running\n  --update-readme  write the result into README.md",
      examples: ["demo", "demo --keep"],
    });
  },
};

function addBackup(parent: Command, io: CliIo): void {
  const command = parent
    .command("backup")
    .description("copy a controller's database, files, keys and settings, also while it runs")
    .requiredOption("--to <dir>", "folder for the copy; must be new or empty")
    .option("--data-dir <dir>", "folder of the controller", dataDirDefault)
    .option("--config-dir <dir>", "folder of its YAML files (the one it was started with)")
    .action(
      async (options: { to: string; dataDir: string; configDir?: string; json?: boolean }) => {
        const bar = progress(io, "backup");
        const result = await backupController(options, bar.set);
        bar.end();
        show(
          io,
          options,
          result,
          ({ files, bytes }) => `${files} files, ${kilobytes(bytes)}, are in ${options.to}`,
        );
      },
    );
  withExamples(withJson(command), [
    "controller backup --data-dir fleetfit-data --to backup-monday",
    "controller backup --data-dir fleetfit-data --config-dir my-fleet --to backup-monday --json",
  ]);
}

function addRestore(parent: Command, io: CliIo): void {
  const command = parent
    .command("restore")
    .description("make a controller's folder from a backup, after checking every file of it")
    .requiredOption("--from <dir>", "folder of the backup")
    .option("--data-dir <dir>", "folder to make; must be new or empty", dataDirDefault)
    .option("--config-dir <dir>", "where to put the YAML files, when the backup holds some")
    .action(
      async (options: { from: string; dataDir: string; configDir?: string; json?: boolean }) => {
        const bar = progress(io, "restore");
        const result = await restoreController(options, bar.set);
        bar.end();
        show(
          io,
          options,
          result,
          ({ files, bytes, pausedRollouts }) =>
            `${files} files, ${kilobytes(bytes)}, are in ${options.dataDir}; ${pausedRollouts} rollouts were paused, resume them by hand`,
        );
      },
    );
  withExamples(withJson(command), [
    "controller restore --from backup-monday --data-dir fleetfit-data",
  ]);
}
