/** YAML as operators write it; what cannot be read is told with its line. */
import { parse } from "yaml";
import { FleetError } from "../../shared/errors.ts";

/** Errors: `config-invalid`. */
export function parseYaml(text: string, what: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FleetError("config-invalid", `${what}: ${why}`, { cause });
  }
}
