/** What is foretold of variants, for both ways to compress, and the flags that bound it. */
import { type Command, InvalidArgumentError } from "commander";
import { foretellBoundSchema } from "../jobs/foretell-bound.ts";
import { type ForetoldVariant, foretoldTable, foretoldTitle } from "../report/foretold-table.ts";
import { table } from "./output.ts";

/** One paragraph, or none when nothing is foretold. */
export function foretoldText(variants: readonly ForetoldVariant[]): string[] {
  const found = foretoldTable(variants);
  return found === undefined ? [] : [`${foretoldTitle}:\n${table(found.head, found.rows, "")}`];
}

const { samplesMax, timeMaxMs } = foretellBoundSchema.shape;

/** Adds the flags of a file's compression. */
export function withForetellBound(command: Command): Command {
  const { samplesMax: samples, timeMaxMs: ms } = foretellBoundSchema.parse({});
  return command
    .option(
      "--foretell-samples <count>",
      "of a file: samples on which accuracy on other processors is foretold; 0 for none",
      (text) => {
        const parsed = samplesMax.safeParse(Number(text));
        if (parsed.success) return parsed.data;
        throw new InvalidArgumentError("a number of samples up to 100000");
      },
      samples,
    )
    .option(
      "--foretell-seconds <seconds>",
      "of a file: longest time of that, for each variant and processor",
      (text) => {
        const parsed = timeMaxMs.safeParse(Math.round(Number(text) * 1_000));
        if (parsed.success) return parsed.data / 1_000;
        throw new InvalidArgumentError("a number of seconds from 0.1 to 3600");
      },
      ms / 1_000,
    );
}
