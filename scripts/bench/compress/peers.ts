/**
 * The rivals' programs: Python packages in virtual environments of their own, made on the first run from
 * the pinned requirements beside the drivers and kept for the next.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";

const peersFolder = path.resolve(import.meta.dirname, "../peers");

/** What the benchmark keeps between runs: environments, trained nets, decoded data. */
export const cacheFolder = path.resolve(import.meta.dirname, "../../../.cache/bench-compress");

export type Peer = "onnxruntime" | "nncf" | "neural-compressor";

/** The Python of a peer, installed when it is not yet. Throws, with the reason, when it cannot be. */
export function peerPython(peer: Peer, say: (line: string) => void): string {
  const requirements = path.join(peersFolder, `requirements-${peer}.txt`);
  const hash = createHash("sha256").update(fs.readFileSync(requirements)).digest("hex");
  const folder = path.join(cacheFolder, `${peer}-${hash.slice(0, 12)}`);
  const python = path.join(folder, "bin", "python");
  const complete = path.join(folder, "complete");
  if (fs.existsSync(complete)) return python;
  say(`installing ${peer} for Python`);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(cacheFolder, { recursive: true });
  runOnce("python3", ["-m", "venv", folder]);
  runOnce(python, ["-m", "pip", "install", "--quiet", "-r", requirements]);
  fs.writeFileSync(complete, "");
  return python;
}

function runOnce(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status === 0) return;
  const why = error?.message ?? stderr.trim().split("\n").at(-1);
  throw new Error(`${program} ${args.join(" ")} failed: ${why}`);
}

/**
 * Runs one of the drivers with a job file and yields the JSON lines that it prints. Throws when it fails,
 * with the end of what it said.
 */
export async function* runDriver<Line>(options: {
  readonly python: string;
  readonly driver:
    | "quantize.py"
    | "nncf_quantize.py"
    | "neural_compressor_quantize.py"
    | "check.py"
    | "decode.py"
    | "render.py";
  readonly job: unknown;
  readonly folder: string;
}): AsyncGenerator<Line> {
  const jobFile = path.join(options.folder, `${path.parse(options.driver).name}.json`);
  fs.writeFileSync(jobFile, JSON.stringify(options.job));
  const child = spawn(options.python, [path.join(peersFolder, options.driver), jobFile], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: options.folder,
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const said: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => said.push(text));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      // Libraries print lines of their own.
      if (line.startsWith("{")) yield JSON.parse(line) as Line;
    }
    const code = await ended;
    if (code !== 0) {
      throw new Error(`${options.driver} ended with ${code}: ${said.join("").slice(-400)}`);
    }
  } finally {
    process.removeListener("exit", kill);
    kill();
  }
}
