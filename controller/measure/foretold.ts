/**
 * Times of variants on the devices of each class, foretold from the cost table of the class's hardware and
 * shown beside what was measured. Nothing is chosen by them.
 */
import type { ForetoldTimesAnswer } from "../../shared/api/routes/models.ts";
import { processorOf } from "../../shared/devices/processor.ts";
import { profileSchema } from "../../shared/devices/profile.ts";
import { foretellTime } from "../compress/cost/foretell.ts";
import { keptShapesSchema } from "../compress/cost/kept-shapes.ts";
import type { ControllerContext } from "../context.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import { bestFacts } from "../plan/service.ts";
import type { VariantTable } from "../storage/schema.ts";
import { costsOfClass } from "./costs.ts";

/** Classes without a cost table are left out, and variants whose shapes are not known. */
export async function listForetoldTimes(
  ctx: ControllerContext,
  { model, version }: { model: string; version: string },
): Promise<ForetoldTimesAnswer[]> {
  const variants = await ctx.db
    .selectFrom("variants")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .where("status", "=", "ready")
    .orderBy("recipe")
    .execute();
  const answers: ForetoldTimesAnswer[] = [];
  for (const deviceClass of ctx.fleet.classes) {
    const answer = await foretoldOf(ctx, deviceClass, variants);
    if (answer !== undefined) answers.push(answer);
  }
  return answers;
}

async function foretoldOf(
  ctx: ControllerContext,
  { name, recipes }: DeviceClass,
  variants: readonly VariantTable[],
): Promise<ForetoldTimesAnswer | undefined> {
  const found = await costsOfClass(ctx.db, name);
  const processor = found && processorOf(profileSchema.parse(JSON.parse(found.profileJson)));
  if (found === undefined || processor === undefined) return undefined;
  const { table, device, emulated, degraded, measuredAtMs } = found.measured;
  const rows: ForetoldTimesAnswer["variants"] = [];
  for (const { recipe, modelSha256, bundleSha256, shapesJson } of variants) {
    if (!recipes.includes(recipe) || modelSha256 === null || shapesJson === null) continue;
    const modelBytes = await ctx.blobs.read(modelSha256);
    const shapes = keptShapesSchema.parse(JSON.parse(shapesJson));
    const foretold = foretellTime({ modelBytes, shapes }, { table, processor });
    if (foretold === undefined) continue;
    const { timeMs, notCovered } = foretold;
    const measured = await bestFacts(ctx.db, name, bundleSha256 ?? "");
    const measuredMs = measured?.latencyP50Ms ?? null;
    rows.push({ recipe, foretoldMs: timeMs, measuredMs, notCovered: [...notCovered] });
  }
  const costs = { device, emulated, degraded, measuredAtMs };
  return rows.length === 0 ? undefined : { deviceClass: name, costs, variants: rows };
}
