/** The command line in this process, as one types it, with what it printed. */
import { runCli } from "../../controller/cli/program.ts";

/** `dataDir` is that of the controller that the command asks; without one it asks none. */
export async function fleetfitCommand(args: readonly string[], dataDir?: string) {
  const out: string[] = [];
  const err: string[] = [];
  const exitCode = await runCli([...args], {
    out: (text) => out.push(text),
    err: (text) => err.push(text),
    interactive: false,
    env: dataDir === undefined ? {} : { FLEETFIT_DATA_DIR: dataDir },
    run: async () => 1,
    sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
  });
  return { exitCode, out: out.join("\n"), err: err.join("\n") };
}
