/**
 * A device that mender's client keeps: one file, which its own module `single-file` replaces, in
 * folders of our own. Nothing of the machine is touched: the client sees its settings through a mount
 * that only it has.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const moduleFile = "/usr/share/mender/modules/v3/single-file";
const settingsDir = "/etc/mender";
const deviceType = "bench";
const commandTimeoutMs = 60_000;
const fileName = "model.bin";

export interface Artifact {
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
}

export interface MenderDevice {
  /** An artifact that replaces the file. */
  write(name: string, bytes: Uint8Array): Artifact;
  /** Runs one command to its end; answers exit code and output. */
  run(...command: string[]): { code: number | null; output: string };
  /** Starts installation and commit as one group of processes. */
  startUpdate(artifact: Artifact): ChildProcess;
  /** Hash of the file; null when it is not there. */
  fileSha256(): string | null;
}

/** Why the client cannot be run here; undefined when it can. */
export function whyNoMender(): string | undefined {
  for (const program of ["mender", "mender-artifact"]) {
    if (spawnSync(program, ["--version"]).error !== undefined) {
      return `${program} is not installed: apt-get install mender-client mender-artifact`;
    }
  }
  if (!existsSync(moduleFile)) return `mender's module ${moduleFile} is not there`;
  if (!existsSync(settingsDir)) return `${settingsDir} is not there`;
  const { status, stderr } = spawnSync("unshare", ["--mount", "--map-root-user", "true"]);
  return status === 0 ? undefined : `a mount of our own is not allowed: ${stderr}`;
}

export function menderVersion(): string {
  const text = execFileSync("mender", ["--version"], { encoding: "utf8" });
  return text.split(/\s/)[0] ?? text;
}

/** `folder` is empty. */
export function createMenderDevice(folder: string): MenderDevice {
  const settings = join(folder, "settings");
  const data = join(folder, "data");
  const slot = join(folder, "slot");
  for (const made of [settings, data, slot]) mkdirSync(made);
  writeFileSync(join(settings, "mender.conf"), "{}\n");
  writeFileSync(join(settings, "artifact_info"), "artifact_name=none\n");
  writeFileSync(join(data, "device_type"), `device_type=${deviceType}\n`);
  const inside = (script: string, args: readonly string[]) => [
    "unshare",
    "--mount",
    "--map-root-user",
    "sh",
    "-c",
    `${bind}${script}`,
    settings,
    ...args,
  ];
  const bind = `set -e; mount --bind "$0" ${settingsDir}; d=$1; shift; `;
  const client = `mender --no-syslog --log-level error --data "$d"`;
  return {
    write: (name, bytes) => writeArtifact(folder, { name, slot, bytes }),
    run(...command) {
      const [program = "", ...args] = inside(`exec ${client} "$@"`, [data, ...command]);
      const { status, stdout, stderr } = spawnSync(program, args, {
        encoding: "utf8",
        timeout: commandTimeoutMs,
      });
      return { code: status, output: `${stdout}${stderr}`.trim() };
    },
    startUpdate({ path }) {
      const script = `${client} install "$1"; ${client} commit`;
      const [program = "", ...args] = inside(script, [data, path]);
      return spawn(program, args, { stdio: "ignore", detached: true });
    },
    fileSha256() {
      const file = join(slot, fileName);
      return existsSync(file) ? sha256Of(readFileSync(file)) : null;
    },
  };
}

/** The four files that the module expects, packed by mender's own tool. */
function writeArtifact(
  folder: string,
  options: { name: string; slot: string; bytes: Uint8Array },
): Artifact {
  const { name, slot, bytes } = options;
  const parts = join(folder, `parts-${name}`);
  mkdirSync(parts);
  const contents = { dest_dir: slot, filename: fileName, permissions: "644", [fileName]: bytes };
  const files = Object.entries(contents).flatMap(([file, content]) => {
    writeFileSync(join(parts, file), content);
    return ["-f", join(parts, file)];
  });
  const path = join(folder, `${name}.mender`);
  const what = ["-n", name, "-t", deviceType, "-T", "single-file", "-o", path];
  execFileSync("mender-artifact", ["write", "module-image", ...what, ...files], {
    stdio: "ignore",
  });
  return { name, path, sha256: sha256Of(bytes) };
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
