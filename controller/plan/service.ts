/** Reads facts, lets each class choose, stores the choices with their reasons. */
import { z } from "zod";
import { evaluationSchema } from "../../shared/api/evaluation.ts";
import { type Instructions, type Processor, processorOf } from "../../shared/devices/processor.ts";
import { profileSchema } from "../../shared/devices/profile.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import type { ControllerContext } from "../context.ts";
import { type DeviceClass, processorsOf } from "../fleet/classes.ts";
import { parityFlipFractionMax } from "../rollout/release.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { VariantTable } from "../storage/schema.ts";
import { foretoldFor } from "./accuracy.ts";
import { choose, type MeasuredFacts, type MeasuredVariant } from "./choose.ts";

const reasonsSchema = z.array(z.object({ recipe: z.string(), won: z.boolean(), why: z.string() }));
const failureSchema = z.object({ code: z.string(), why: z.string() });

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

/**
 * One choice per class that measured something; earlier choices of the version are replaced. Runs in
 * the caller's transaction, so that the last fact of a version and what it decides are stored together.
 */
export async function chooseForClasses(
  ctx: Pick<ControllerContext, "clock" | "config" | "fleet">,
  trx: Database,
  { model, version }: Version,
): Promise<void> {
  const nowMs = ctx.clock.wallMs();
  const parity = {
    flipFractionMax: parityFlipFractionMax,
    alpha: alphaOf("parity", ctx.config.alphaDevice),
  };
  const variants = await trx
    .selectFrom("variants")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("recipe")
    .execute();
  for (const deviceClass of ctx.fleet.classes) {
    const processors = await classProcessors(trx, deviceClass);
    const measured: MeasuredVariant[] = [];
    for (const variant of variants)
      measured.push(
        await measuredVariant(trx, { deviceClass: deviceClass.name, processors }, variant),
      );
    if (measured.every((each) => each.measured === null && each.measurementFailure === null))
      continue;
    const inUse = await recipeInUse(trx, deviceClass.name, model);
    const choice = choose(deviceClass, measured, { parity, inUse });
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
}

const instructionsSchema = profileSchema.pick({ architecture: true, isa: true });

/** What rows say of processors; rows without a profile say nothing. */
function instructionsOf(rows: readonly { readonly profileJson: string }[]): Instructions[] {
  return rows.flatMap(
    ({ profileJson }) => instructionsSchema.safeParse(JSON.parse(profileJson)).data ?? [],
  );
}

/** Kinds of processor that devices of the class have, or declare. */
async function classProcessors(trx: Database, deviceClass: DeviceClass): Promise<Processor[]> {
  const rows = await trx
    .selectFrom("devices")
    .select("profileJson")
    .where("deviceClass", "=", deviceClass.name)
    .where("standing", "=", "active")
    .execute();
  return processorsOf(deviceClass, instructionsOf(rows));
}

/** Kinds of processor that devices of the class have and found out the accuracy of a file on. */
async function processorsMeasuredOn(
  trx: Database,
  deviceClass: string,
  bundleSha256: string,
): Promise<Processor[]> {
  const rows = await trx
    .selectFrom("facts")
    .innerJoin("devices", "devices.id", "facts.device")
    .select("devices.profileJson")
    .where("facts.bundleSha256", "=", bundleSha256)
    .where("facts.metric", "=", "golden-metric")
    .where("facts.emulated", "=", 0)
    .where("devices.deviceClass", "=", deviceClass)
    .execute();
  return instructionsOf(rows).flatMap((each) => processorOf(each) ?? []);
}

async function measuredVariant(
  trx: Database,
  {
    deviceClass,
    processors,
  }: { readonly deviceClass: string; readonly processors: readonly Processor[] },
  variant: VariantTable,
): Promise<MeasuredVariant> {
  const bundleSha256 = variant.bundleSha256 ?? "";
  const measuredOn = await processorsMeasuredOn(trx, deviceClass, bundleSha256);
  const evaluation =
    variant.evaluationJson === null
      ? null
      : evaluationSchema.parse(JSON.parse(variant.evaluationJson));
  return {
    recipe: variant.recipe,
    bundleSha256: variant.bundleSha256,
    status: variant.status,
    reason: variant.reason,
    modelBytes: variant.modelBytes,
    metric: evaluation === null ? null : evaluation.sealed,
    worse: evaluation?.worse ?? 0,
    better: evaluation?.better ?? 0,
    foretold: foretoldFor(evaluation?.foretold ?? [], { processors, measuredOn }),
    measured: await bestFacts(trx, deviceClass, bundleSha256),
    measurementFailure: await newestFailure(trx, deviceClass, bundleSha256),
  };
}

/**
 * The facts of one measurement by a device of the class, never mixed from several: real hardware before
 * emulated, a steady machine before a busy one, then the newest.
 */
export async function bestFacts(
  trx: Database,
  deviceClass: string,
  bundleSha256: string,
): Promise<MeasuredFacts | null> {
  const facts = await trx
    .selectFrom("facts")
    .innerJoin("devices", "devices.id", "facts.device")
    .selectAll("facts")
    .where("facts.bundleSha256", "=", bundleSha256)
    .where("devices.deviceClass", "=", deviceClass)
    .orderBy("facts.emulated")
    .orderBy("facts.degraded")
    .orderBy("facts.measuredAtMs", "desc")
    .orderBy("facts.id", "desc")
    .execute();
  const latency = facts.find(({ metric }) => metric === "latency-p50-ms");
  if (latency === undefined) return null;
  const sameTime = (metric: string) =>
    facts.find(
      (fact) =>
        fact.metric === metric &&
        fact.device === latency.device &&
        fact.measuredAtMs === latency.measuredAtMs,
    );
  const metric = sameTime("golden-metric");
  const flips = sameTime("parity-flips");
  return {
    device: latency.device,
    latencyP50Ms: latency.value,
    latencyIntervalMs: [latency.low ?? latency.value, latency.high ?? latency.value],
    ramPeakBytes: sameTime("ram-peak-bytes")?.value ?? null,
    metric:
      metric === undefined
        ? null
        : { value: metric.value, high: metric.high ?? metric.value, n: metric.n },
    parity: flips === undefined ? null : { flips: flips.value, n: flips.n },
    degraded: latency.degraded === 1,
    emulated: latency.emulated === 1,
  };
}

/** What a device of the class committed last; undefined when none ever did. */
async function recipeInUse(
  trx: Database,
  deviceClass: string,
  model: string,
): Promise<string | undefined> {
  const row = await trx
    .selectFrom("attempts")
    .innerJoin("devices", "devices.id", "attempts.device")
    .select("attempts.recipe")
    .where("attempts.model", "=", model)
    .where("attempts.outcome", "=", "committed")
    .where("devices.deviceClass", "=", deviceClass)
    .orderBy("attempts.releaseCounter", "desc")
    .executeTakeFirst();
  return row?.recipe;
}

async function newestFailure(
  trx: Database,
  deviceClass: string,
  bundleSha256: string,
): Promise<string | null> {
  const row = await trx
    .selectFrom("measurements")
    .select("failureJson")
    .where("bundleSha256", "=", bundleSha256)
    .where("deviceClass", "=", deviceClass)
    .where("status", "=", "failed")
    .orderBy("finishedAtMs", "desc")
    .executeTakeFirst();
  if (row === undefined || row.failureJson === null) return null;
  const { code, why } = failureSchema.parse(JSON.parse(row.failureJson));
  return `${code}: ${why}`;
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
