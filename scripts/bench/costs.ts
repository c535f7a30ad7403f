/**
 * What the cost table of this processor foretells for models, against what they take.
 */
import fs from "node:fs";
import { applyRecipe } from "../../controller/compress/compress.ts";
import { channelSteps } from "../../controller/compress/cost/channel-steps.ts";
import { estimateCost } from "../../controller/compress/cost/estimate.ts";
import { costProbes } from "../../controller/compress/cost/probes.ts";
import { inferShapes } from "../../controller/compress/infer-shapes.ts";
import { parseRecipes } from "../../controller/compress/recipe.ts";
import { Model } from "../../controller/onnx/model.ts";
import type { CostTable } from "../../shared/inference/cost-table.ts";
import { type Feed, openSession } from "../../shared/inference/session.ts";
import { timeCostProbes } from "../../shared/inference/time-costs.ts";
import { feedOf } from "./compress/answer.ts";
import { halvesOf, type Subject, takeSamples } from "./compress/subject.ts";
import { sharedModel } from "./compress/subjects/shared-models.ts";
import { subjectWorkbench } from "./compress/workbench.ts";
import { atMost, type Benchmark, type Row } from "./frame.ts";

const names = ["resnet8", "ds-cnn", "fsdd", "fashion"];
const recipeNames = ["fp32-clean", "int8-static"];
const recipes = new URL("../../controller/compress/recipes.yaml", import.meta.url);

const runCount = 300;
/** An estimate that is off by more misleads a choice between int8 and float. */
const offMax = 2;

export const costsBenchmark: Benchmark = {
  name: "costs",
  summary: "time per model foretold from timed operators, against the time that it takes",
  async run(say) {
    say("timing operators");
    const { table } = await timeCostProbes(costProbes(), process.hrtime.bigint);
    const rows: Row[] = [...tableRows(table)];
    const offs: number[] = [];
    for (const name of names) {
      const subject = await sharedModel(name, say);
      for (const recipe of recipeNames) {
        say(`${name}: ${recipe}`);
        const row = await compared(subject, recipe, table);
        offs.push(Math.max(row.ratio, 1 / row.ratio));
        rows.push({ what: `${name} ${recipe}`, ...row });
      }
    }
    return { rows, bars: [atMost("estimate off by, worst factor", Math.max(...offs), offMax)] };
  },
};

function tableRows(table: CostTable): Row[] {
  const steps = channelSteps(table)!;
  const entries = table.entries.map(({ operator, type, channels, pixels, timeNs }) => ({
    what: `${operator} ${type} ${channels} x ${pixels}`,
    estimateUs: null,
    timeUs: timeNs / 1000,
  }));
  return [...entries, { what: "steps", ...steps }];
}

async function compared(subject: Subject, recipeName: string, table: CostTable) {
  const recipe = parseRecipes(fs.readFileSync(recipes, "utf8")).find(
    ({ name }) => name === recipeName,
  )!;
  const workbench = subjectWorkbench(subject);
  const made = await applyRecipe({ modelBytes: subject.modelBytes, recipe, workbench });
  if (made.outcome !== "made") throw new Error(made.reason);
  const model = Model.decode(made.bytes);
  const facts = await inferShapes(model, workbench);
  const shapes = new Map([...facts!].map(([name, { shape }]) => [name, shape]));
  const { timeNs, notCovered } = estimateCost(model, shapes, { table, processor: "vnni" })!;
  const { pick } = halvesOf(subject.labelled.count);
  const sample = takeSamples(subject, subject.labelled, pick.slice(0, 1));
  const leastNs = await leastTimeNs(made.bytes, feedOf(subject, sample, 0, 1));
  return {
    estimateUs: timeNs / 1000,
    timeUs: leastNs / 1000,
    ratio: timeNs / leastNs,
    notCovered: notCovered.join(", "),
  };
}

async function leastTimeNs(file: Uint8Array, feed: Feed): Promise<number> {
  const session = await openSession(file);
  const feeds = { [session.inputs[0]!.name]: feed };
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runCount; run++) {
    const started = process.hrtime.bigint();
    await session.run(feeds);
    least = Math.min(least, Number(process.hrtime.bigint() - started));
  }
  await session.release();
  return least;
}
