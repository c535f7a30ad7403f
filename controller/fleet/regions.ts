/**
 * Regions as an operator writes them: where devices are, what a link costs there, when installs may
 * happen.
 */
import { z } from "zod";
import {
  batteryFractionMinSchema,
  type InstallPolicy,
  installAlways,
  installWindowsSchema,
} from "../../shared/artifact/install-policy.ts";
import { regionSchema } from "../../shared/artifact/names.ts";
import { FleetError } from "../../shared/errors.ts";
import { parseYaml } from "./yaml.ts";

const region = z
  .strictObject({
    name: regionSchema,
    title: z.string().max(128),
    timeZone: z
      .string()
      .max(64)
      .refine(isTimeZone, "an IANA time zone, such as Europe/Paris")
      .optional(),
    link: z.strictObject({
      kind: z.enum(["lan", "cellular", "satellite", "lpwan"]),
      costPerMb: z.number().min(0).optional(),
      bytesPerSecond: z.number().positive().optional(),
    }),
    /** Nothing said: always. */
    install: z
      .strictObject({
        windows: installWindowsSchema.default([]),
        batteryFractionMin: batteryFractionMinSchema.default(0),
      })
      .default({ windows: [], batteryFractionMin: 0 }),
  })
  .refine(({ timeZone, install }) => timeZone !== undefined || install.windows.length === 0, {
    path: ["timeZone"],
    message: "install windows need a timeZone",
  });
export type Region = z.infer<typeof region>;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** What the manifests of devices in `name` say; a region that nobody described allows everything. */
export function installPolicyOf(
  regions: readonly Region[],
  name: string | undefined,
): InstallPolicy {
  const found = regions.find((each) => each.name === name);
  if (found === undefined) return installAlways;
  return { timeZone: found.timeZone ?? installAlways.timeZone, ...found.install };
}

/** Errors: `config-invalid`, naming every fault. */
export function parseRegions(yamlText: string): Region[] {
  const parsed = z
    .strictObject({ regions: z.array(region).max(1_000) })
    .safeParse(parseYaml(yamlText, "regions"));
  if (parsed.success) return parsed.data.regions;
  throw new FleetError("config-invalid", `regions: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}
