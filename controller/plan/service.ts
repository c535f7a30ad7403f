/** Reads facts, lets each class choose, stores the choices with their reasons. */
import { z } from "zod";
import { evaluationSchema } from "../../shared/api/evaluation.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { VariantTable } from "../storage/schema.ts";
import { choose, type MeasuredVariant } from "./choose.ts";

const reasonsSchema = z.array(z.object({ recipe: z.string(), won: z.boolean(), why: z.string() }));

export interface ChoiceView {
  readonly deviceClass: string;
  readonly recipe: string | null;
  readonly bundleSha256: string | null;
  readonly emulated: boolean;
  readonly reasons: z.infer<typeof reasonsSchema>;
  readonly createdAtMs: number;
}

interface Version {
  readonly model: string;
  readonly version: string;
}

/** One choice per class that measured something; earlier choices of the version are replaced. */
export async function chooseForClasses(
  ctx: ControllerContext,
  { model, version }: Version,
): Promise<void> {
  const nowMs = ctx.clock.wallMs();
  await ctx.db.transaction().execute(async (trx) => {
    const variants = await trx
      .selectFrom("variants")
      .selectAll()
      .where("model", "=", model)
      .where("version", "=", version)
      .orderBy("recipe")
      .execute();
    for (const deviceClass of ctx.fleet.classes) {
      const measured: MeasuredVariant[] = [];
      for (const variant of variants)
        measured.push(await measuredVariant(trx, deviceClass.name, variant));
      if (measured.every((variant) => variant.measured === null)) continue;
      const choice = choose(deviceClass, measured);
      const values = {
        bundleSha256: choice.winner?.bundleSha256 ?? null,
        recipe: choice.winner?.recipe ?? null,
        reasonsJson: JSON.stringify(choice.reasons),
        emulated: choice.emulated ? 1 : 0,
        createdAtMs: nowMs,
      };
      await trx
        .insertInto("choices")
        .values({ model, version, deviceClass: deviceClass.name, ...values })
        .onConflict((conflict) =>
          conflict.columns(["model", "version", "deviceClass"]).doUpdateSet(values),
        )
        .execute();
      await recordEvent(trx, {
        atMs: nowMs,
        kind: "variant-chosen",
        subject: deviceClass.name,
        message: `${model} ${version}: ${choice.winner?.recipe ?? "no variant fits"}`,
        data: choice.reasons,
      });
    }
  });
}

/** The newest facts of devices of the class, steady ones before those of a busy machine. */
async function measuredVariant(
  trx: Database,
  deviceClass: string,
  variant: VariantTable,
): Promise<MeasuredVariant> {
  const evaluation =
    variant.evaluationJson === null
      ? null
      : evaluationSchema.parse(JSON.parse(variant.evaluationJson));
  const facts = await trx
    .selectFrom("facts")
    .innerJoin("devices", "devices.id", "facts.device")
    .select(["facts.metric", "facts.value", "facts.degraded", "facts.emulated"])
    .where("facts.bundleSha256", "=", variant.bundleSha256 ?? "")
    .where("devices.deviceClass", "=", deviceClass)
    .orderBy("facts.id", "desc")
    .execute();
  const newest = (metric: string) =>
    facts.find((fact) => fact.metric === metric && fact.degraded === 0) ??
    facts.find((fact) => fact.metric === metric);
  const latency = newest("latency-p50-ms");
  return {
    recipe: variant.recipe,
    bundleSha256: variant.bundleSha256,
    status: variant.status,
    reason: variant.reason,
    modelBytes: variant.modelBytes,
    metric: evaluation === null ? null : evaluation.sealed,
    worse: evaluation?.worse ?? 0,
    better: evaluation?.better ?? 0,
    measured:
      latency === undefined
        ? null
        : {
            latencyP50Ms: latency.value,
            ramPeakBytes: newest("ram-peak-bytes")?.value ?? 0,
            degraded: latency.degraded === 1,
            emulated: latency.emulated === 1,
          },
  };
}

export async function listChoices(
  ctx: ControllerContext,
  { model, version }: Version,
): Promise<ChoiceView[]> {
  const rows = await ctx.db
    .selectFrom("choices")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("deviceClass")
    .execute();
  return rows.map((row) => ({
    deviceClass: row.deviceClass,
    recipe: row.recipe,
    bundleSha256: row.bundleSha256,
    emulated: row.emulated === 1,
    reasons: reasonsSchema.parse(JSON.parse(row.reasonsJson)),
    createdAtMs: row.createdAtMs,
  }));
}
