/** What is foretold of variants on processors that are not here, as a table of texts. */
import type { Foretold } from "../../shared/api/evaluation.ts";
import { type Processor, processorNames, processors } from "../../shared/devices/processor.ts";

export interface ForetoldVariant {
  readonly recipe: string;
  readonly foretold: readonly Foretold[];
}

export interface ForetoldTable {
  readonly head: readonly string[];
  /** One per variant of which something is said. */
  readonly rows: readonly (readonly string[])[];
}

export const foretoldTitle = "On processors that are not here";

/** A row per variant with integer layers, a column per processor; undefined when nothing is foretold. */
export function foretoldTable(variants: readonly ForetoldVariant[]): ForetoldTable | undefined {
  const told = variants.filter(({ foretold }) => foretold.length > 0);
  const columns = processors.filter((processor) =>
    told.some(({ foretold }) => foretold.some((one) => one.processor === processor)),
  );
  if (columns.length === 0) return undefined;
  return {
    head: ["recipe", ...columns.map((processor) => processorNames[processor])],
    rows: told.map(({ recipe, foretold }) => [
      recipe,
      ...columns.map((processor) => foretoldText(foretold, processor)),
    ]),
  };
}

function foretoldText(foretold: readonly Foretold[], processor: Processor): string {
  const found = foretold.find((one) => one.processor === processor);
  switch (found?.outcome) {
    case undefined:
      return "";
    case "as-here":
      return "as here";
    case "not-foretold":
      return `not foretold: ${found.why}`;
    case "foretold": {
      const { score, worse, better } = found;
      const interval = `${percent(score.low)} … ${percent(score.high)}, n ${score.n}`;
      return `${percent(score.value)} (${interval}), worse / better ${worse} / ${better}`;
    }
  }
}

const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
