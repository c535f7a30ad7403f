/** Entry of the command `fleetfit`; everything is in program.ts, so that tests can run it. */
import { runCli } from "./program.ts";
import { systemIo } from "./system-io.ts";

process.exitCode = await runCli(process.argv.slice(2), systemIo());
