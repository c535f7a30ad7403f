/**
 * Device classes as an operator writes them: a rule over the probed profile, a budget, candidate
 * recipes and an objective. The first class whose rule matches wins.
 */
import { z } from "zod";
import { nameSchema } from "../../shared/artifact/names.ts";
import { type Instructions, type Processor, processorOf } from "../../shared/devices/processor.ts";
import { isaFlags, type Profile } from "../../shared/devices/profile.ts";
import { FleetError } from "../../shared/errors.ts";
import { parseYaml } from "./yaml.ts";

const isa = z.array(z.enum(isaFlags));

const matchSchema = z.strictObject({
  architecture: z.array(z.string()).optional(),
  platform: z.array(z.string()).optional(),
  isaAll: isa.optional(),
  isaNone: isa.optional(),
  coresMin: z.int().optional(),
  coresMax: z.int().optional(),
  ramBytesMin: z.number().optional(),
  ramBytesMax: z.number().optional(),
  power: z.array(z.enum(["mains", "battery", "unknown"])).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  emulated: z.boolean().optional(),
});

const classSchema = z.strictObject({
  name: nameSchema,
  summary: z.string().max(500),
  match: matchSchema,
  budget: z.strictObject({
    modelBytesMax: z.int().positive().optional(),
    ramPeakBytesMax: z.int().positive().optional(),
    latencyMsMax: z.number().positive().optional(),
    metricFloor: z.number().min(0).max(1).default(0),
    /** Of every class's share of right answers, and of the metric in every slice. */
    classFloor: z.number().min(0).max(1).optional(),
    sliceFloor: z.number().min(0).max(1).optional(),
    onInconclusive: z.enum(["commit", "roll-back"]).optional(),
    /** Highest ratio of new to old energy per inference, where a device has a counter. */
    energyRatioMax: z.number().min(1).max(100).optional(),
  }),
  recipes: z.array(nameSchema).min(1),
  objective: z.enum(["size", "latency", "accuracy"]),
});
export type DeviceClass = z.infer<typeof classSchema>;

/** Errors: `config-invalid`, naming every fault. */
export function parseClasses(yamlText: string): DeviceClass[] {
  const parsed = z
    .strictObject({ classes: z.array(classSchema).min(1).max(200) })
    .safeParse(parseYaml(yamlText, "classes"));
  if (parsed.success) return parsed.data.classes;
  throw new FleetError("config-invalid", `classes: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}

export interface Described {
  readonly profile: Profile;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ClassExplanation {
  readonly deviceClass: string;
  readonly matches: boolean;
  /** One sentence per rule that does not hold; empty when all do. */
  readonly reasons: readonly string[];
}

/** Every class with the reasons why it does or does not match. */
export function explainClasses(
  device: Described,
  classes: readonly DeviceClass[],
): ClassExplanation[] {
  return classes.map(({ name, match }) => {
    const reasons = mismatches(device, match);
    return { deviceClass: name, matches: reasons.length === 0, reasons };
  });
}

/** The first class that matches, or null. */
export function classOf(device: Described, classes: readonly DeviceClass[]): string | null {
  return explainClasses(device, classes).find(({ matches }) => matches)?.deviceClass ?? null;
}

/** Whether what a class asks of the processor holds for one; the rest of its rule is about a device. */
export function admits({ match }: DeviceClass, { architecture, isa }: Instructions): boolean {
  return (
    (match.architecture ?? [architecture]).includes(architecture) &&
    (match.isaAll ?? []).every((flag) => isa.includes(flag)) &&
    !(match.isaNone ?? []).some((flag) => isa.includes(flag))
  );
}

/** What there is to buy, as far as rules tell it apart. */
const sold: readonly Instructions[] = [
  { architecture: "x64", isa: ["avx2"] },
  { architecture: "x64", isa: ["avx2", "avx_vnni"] },
  { architecture: "x64", isa: ["avx2", "avx512_vnni"] },
  { architecture: "x64", isa: ["avx2", "avx512_vnni", "avx_vnni"] },
  { architecture: "arm64", isa: [] },
  { architecture: "arm64", isa: ["asimddp"] },
  { architecture: "arm64", isa: ["asimddp", "i8mm"] },
  { architecture: "arm64", isa: ["asimddp", "i8mm", "sve"] },
];

/**
 * Kinds of processor that a class has: those of its devices; without any, those that its rule admits,
 * which are none that are known where it asks nothing of the processor.
 */
export function processorsOf(
  deviceClass: DeviceClass,
  devices: readonly Instructions[],
): Processor[] {
  const { architecture, isaAll, isaNone } = deviceClass.match;
  const asks = (architecture ?? isaAll ?? isaNone) !== undefined;
  const admitted = asks ? sold.filter((each) => admits(deviceClass, each)) : [];
  const known = (of: readonly Instructions[]) => [
    ...new Set(of.flatMap((each) => processorOf(each) ?? [])),
  ];
  return devices.length > 0 ? known(devices) : known(admitted);
}

function mismatches({ profile, labels }: Described, match: DeviceClass["match"]): string[] {
  const reasons: string[] = [];
  const check = (holds: boolean, why: string) => {
    if (!holds) reasons.push(why);
  };
  const oneOf = (name: string, value: string, wanted: readonly string[] | undefined) =>
    check(
      wanted === undefined || wanted.includes(value),
      `${name} ${value} is not one of ${wanted?.join(", ")}`,
    );
  const within = (
    name: string,
    value: number,
    low: number | undefined,
    high: number | undefined,
  ) => {
    check(low === undefined || value >= low, `${name} ${value} is below ${low}`);
    check(high === undefined || value <= high, `${name} ${value} is above ${high}`);
  };
  oneOf("architecture", profile.architecture, match.architecture);
  oneOf("platform", profile.platform, match.platform);
  oneOf("power", profile.power, match.power);
  within("cores", profile.cores, match.coresMin, match.coresMax);
  within("ramBytes", profile.ramBytes, match.ramBytesMin, match.ramBytesMax);
  for (const flag of match.isaAll ?? [])
    check(profile.isa.includes(flag), `the CPU has no ${flag}`);
  for (const flag of match.isaNone ?? []) check(!profile.isa.includes(flag), `the CPU has ${flag}`);
  for (const [label, value] of Object.entries(match.labels ?? {})) {
    check(labels[label] === value, `label ${label} is ${labels[label] ?? "missing"}, not ${value}`);
  }
  const { emulated } = match;
  check(emulated === undefined || profile.emulated === emulated, `emulated is ${profile.emulated}`);
  return reasons;
}
