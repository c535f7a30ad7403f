/** Regions as an operator writes them: where devices are, what a link costs there. */
import { z } from "zod";
import { regionSchema } from "../../shared/artifact/names.ts";
import { FleetError } from "../../shared/errors.ts";
import { parseYaml } from "./yaml.ts";

const region = z.strictObject({
  name: regionSchema,
  title: z.string().max(128),
  timeZone: z.string().max(64).optional(),
  link: z.strictObject({
    kind: z.enum(["lan", "cellular", "satellite", "lpwan"]),
    costPerMb: z.number().min(0).optional(),
    bytesPerSecond: z.number().positive().optional(),
  }),
});
export type Region = z.infer<typeof region>;

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
