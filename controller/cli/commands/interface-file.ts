/** The interface of a model, in a file that an operator wrote as YAML or JSON. */
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";
import { type ModelInterface, modelInterfaceSchema } from "../../../shared/artifact/bundle.ts";
import { FleetError } from "../../../shared/errors.ts";
import { readFile } from "../model-file.ts";

/** Errors: `input-invalid`. */
export function interfaceOf(path: string): ModelInterface {
  const parsed = modelInterfaceSchema.safeParse(parseYaml(path));
  if (parsed.success) return parsed.data;
  throw new FleetError("input-invalid", `${path}: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}

function parseYaml(path: string): unknown {
  try {
    return parse(new TextDecoder().decode(readFile(path)));
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    // The lines after the first show the place in the file.
    const [fault] = cause.message.split(":\n");
    throw new FleetError("input-invalid", `${path} is not YAML: ${fault}`, { cause });
  }
}
