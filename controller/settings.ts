/**
 * Where the settings of a controller come from: flags, then FLEETFIT_… variables of the environment, then
 * controller.yaml in the operator's folder, then defaults.
 *
 * Invariant: all faults are told together, with the place of each, those of classes, regions and recipes
 * included; nothing has been started or written by then.
 */
import { isAbsolute, join, resolve } from "node:path";
import { z } from "zod";
import { FleetError, isFleetError } from "../shared/errors.ts";
import type { Files } from "../shared/ports/files.ts";
import { type ControllerConfig, controllerConfigSchema } from "./config.ts";
import { loadFleetConfig } from "./fleet/load.ts";
import { parseYaml } from "./fleet/yaml.ts";

type SettingName = Exclude<keyof ControllerConfig, "onnxruntime">;
type Kind = "text" | "path" | "number" | "list";

/** How each setting is read from text; one without an entry does not compile. */
const kinds: { readonly [Name in SettingName]: Kind } = {
  dataDir: "path",
  configDir: "path",
  tenant: "text",
  host: "text",
  publicNames: "list",
  httpPort: "number",
  httpCertFile: "path",
  httpKeyFile: "path",
  mqttPort: "number",
  telemetryWindowMs: "number",
  manifestTtlMs: "number",
  claimTtlMs: "number",
  alphaDevice: "number",
  alphaRollout: "number",
  canarySoakMs: "number",
  rolloutApprovals: "number",
  soakMs: "number",
  telemetryRetentionMs: "number",
  telemetryRowsMax: "number",
  eventRetentionMs: "number",
  eventRowsMax: "number",
  transferBytesPerSecond: "number",
  jobTimeoutMs: "number",
  jobMemoryBytesMax: "number",
  foretellSamplesMax: "number",
  foretellTimeMaxMs: "number",
};
const settingNames = Object.keys(kinds) as SettingName[];
/** What says where controller.yaml is cannot be said in it. */
const notInFile: readonly SettingName[] = ["dataDir", "configDir"];

export const settingsFile = "controller.yaml";
const settingsBytesMax = 1_000_000;

export type Flags = { readonly [Name in SettingName]?: string | readonly string[] | undefined };

/** Name of a setting in the environment: mqttPort is FLEETFIT_MQTT_PORT. */
export function variableOf(name: string): string {
  return `FLEETFIT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

interface Found {
  readonly value: unknown;
  /** Flag, variable or file that it stands in, for messages. */
  readonly place: string;
}

/** Errors: `config-invalid`, naming every fault. */
export async function loadSettings(
  files: Files,
  sources: {
    flags: Flags;
    environment: Readonly<Record<string, string | undefined>>;
    onnxruntime: string;
  },
): Promise<ControllerConfig> {
  const given = new Map<SettingName, Found>();
  for (const name of settingNames) {
    const found = fromText(name, sources.flags[name], sources.environment[variableOf(name)]);
    if (found !== undefined) given.set(name, found);
  }
  const configDir = given.get("configDir")?.value;
  const faults = new Faults();
  if (typeof configDir === "string") await addFile(files, configDir, given, faults);
  const parsed = controllerConfigSchema.safeParse({
    onnxruntime: sources.onnxruntime,
    ...Object.fromEntries([...given].map(([name, { value }]) => [name, value])),
  });
  for (const { path, message } of parsed.error?.issues ?? []) {
    const place = given.get(path[0] as SettingName)?.place;
    faults.add(`${path.join(".")}${place === undefined ? "" : ` (${place})`}: ${message}`);
  }
  await faults.collect(() =>
    loadFleetConfig(files, typeof configDir === "string" ? configDir : undefined),
  );
  if (!parsed.success || faults.all.length > 0) {
    throw new FleetError("config-invalid", faults.all.join("\n"), { cause: parsed.error });
  }
  return parsed.data;
}

class Faults {
  readonly all: string[] = [];
  add(fault: string): void {
    this.all.push(fault);
  }
  /** Takes a coded error as a fault; any other is a bug and goes on. */
  async collect<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isFleetError(error)) throw error;
      this.add(error.message);
      return undefined;
    }
  }
}

function fromText(
  name: SettingName,
  flag: string | readonly string[] | undefined,
  variable: string | undefined,
): Found | undefined {
  if (flag !== undefined) return { value: readText(name, flag), place: "flag" };
  if (variable === undefined || variable === "") return undefined;
  return { value: readText(name, variable), place: variableOf(name) };
}

function readText(name: SettingName, text: string | readonly string[]): unknown {
  const one = typeof text === "string" ? text : text.join(",");
  switch (kinds[name]) {
    case "list":
      return typeof text === "string" ? text.split(",").map((part) => part.trim()) : text;
    case "number":
      return one.trim() === "" ? Number.NaN : Number(one);
    case "path":
      return one === "" ? one : resolve(one);
    case "text":
      return one;
  }
}

/** Adds what controller.yaml sets and nothing before it did; paths in it start at its folder. */
async function addFile(
  files: Files,
  configDir: string,
  given: Map<SettingName, Found>,
  faults: Faults,
): Promise<void> {
  const path = join(configDir, settingsFile);
  if ((await files.stat(path)) === undefined) return;
  const stored = await faults.collect(async () => {
    const bytes = await files.read(path, { maxBytes: settingsBytesMax });
    return parseYaml(new TextDecoder().decode(bytes), settingsFile);
  });
  if (stored === undefined || stored === null) return;
  const settings = z.record(z.string(), z.unknown()).safeParse(stored);
  if (!settings.success) {
    faults.add(`${settingsFile}: it must be a list of names with values`);
    return;
  }
  for (const [key, value] of Object.entries(settings.data)) {
    const name = settingNames.find((each) => each === key && !notInFile.includes(each));
    if (name === undefined) {
      faults.add(`${settingsFile}: there is no setting ${key}`);
      continue;
    }
    if (given.has(name)) continue;
    const isPath = kinds[name] === "path" && typeof value === "string" && !isAbsolute(value);
    given.set(name, { value: isPath ? join(configDir, value) : value, place: settingsFile });
  }
}
