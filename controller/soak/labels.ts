/**
 * The desk where devices ask people for labels of single live samples.
 *
 * Invariants: a sample is asked for once; an answer that was given is not changed, as a device may have
 * counted it; answers are sent again on each birth until the soak is over.
 */
import {
  type ModelInterface,
  modelInterfaceSchema,
  tokenizeStep,
} from "../../shared/artifact/bundle.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { textOf } from "../../shared/inference/processing/text.ts";
import type { ControllerContext } from "../context.ts";
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { prepared } from "../storage/prepared.ts";
import { attemptOf } from "./reports.ts";

/** Open questions of one device; more are not kept. */
const openMax = 500;
const labelsPerMessageMax = 500;

export const onLabelRequest: OutboxHandler<"label-request"> = async (
  ctx,
  trx,
  { device },
  request,
) => {
  const attempt = await attemptOf(trx, device, request);
  if (attempt === undefined) return undefined;
  const { open } = await trx
    .selectFrom("labelRequests")
    .select((eb) => eb.fn.countAll<number>().as("open"))
    .where("device", "=", device)
    .where("status", "=", "open")
    .executeTakeFirstOrThrow();
  if (open >= openMax) return undefined;
  const inputs = Object.entries(request.inputs).map(([tensor, bytes]) => [
    tensor,
    Buffer.from(bytes).toString("base64"),
  ]);
  await trx
    .insertInto("labelRequests")
    .values({
      id: `${request.attempt}.${request.sample.slice(0, 12)}`,
      attempt: request.attempt,
      sample: request.sample,
      device,
      model: attempt.model,
      version: attempt.version,
      freshIndex: request.freshIndex,
      runningIndex: request.runningIndex,
      inputsJson: JSON.stringify(Object.fromEntries(inputs)),
      status: "open",
      labelIndex: null,
      requestedAtMs: ctx.clock.wallMs(),
      answeredAtMs: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return undefined;
};

/** Oldest first, without the samples themselves. */
export async function listLabelRequests(
  ctx: ControllerContext,
  filter: { model?: string | undefined; status?: string | undefined },
) {
  const rows = await ctx.db
    .selectFrom("labelRequests")
    .selectAll()
    .$if(filter.model !== undefined, (query) => query.where("model", "=", filter.model ?? ""))
    .$if(filter.status !== undefined, (query) => query.where("status", "=", filter.status ?? ""))
    .orderBy("requestedAtMs")
    .orderBy("id")
    .limit(1_000)
    .execute();
  const names = new Map<string, readonly string[]>();
  for (const { model, version } of rows) {
    const key = `${model} ${version}`;
    if (!names.has(key)) names.set(key, await labelsOf(ctx, model, version));
  }
  return rows.map((row) => publicRequest(row, names.get(`${row.model} ${row.version}`) ?? []));
}

/** Errors: `not-found`. */
export async function getLabelRequest(ctx: ControllerContext, id: string) {
  const row = await requestRow(ctx, id);
  const found = await interfaceOf(ctx, row.model, row.version);
  const inputs = JSON.parse(row.inputsJson) as Record<string, string>;
  return { ...publicRequest(row, labelsIn(found)), inputs, texts: textsIn(inputs, found) };
}

/** What stands in the inputs that a tokenizer reads; a device that sends other bytes is not believed. */
function textsIn(
  inputs: Readonly<Record<string, string>>,
  found: ModelInterface | undefined,
): Record<string, string> {
  const asText = found?.inputs.filter((input) => tokenizeStep(input) !== undefined) ?? [];
  const texts = asText.map(({ tensor }) => [tensor, textIn(inputs[tensor])] as const);
  return Object.fromEntries(
    texts.flatMap(([tensor, text]) => (text === undefined ? [] : [[tensor, text]])),
  );
}

function textIn(base64: string | undefined): string | undefined {
  try {
    return base64 === undefined ? undefined : textOf(Buffer.from(base64, "base64"));
  } catch (error) {
    if (isFleetError(error, "golden-mismatch")) return undefined;
    throw error;
  }
}

/**
 * `label` is a name or a number of the model's labels; null when a person cannot tell.
 * Errors: `not-found`, `input-invalid`, `conflict` when it was answered otherwise before.
 */
export async function answerLabelRequest(ctx: ControllerContext, id: string, label: string | null) {
  const row = await requestRow(ctx, id);
  const names = await labelsOf(ctx, row.model, row.version);
  const index = label === null ? null : indexOf(names, label);
  const updated = await ctx.db
    .updateTable("labelRequests")
    .set({ status: "answered", labelIndex: index, answeredAtMs: ctx.clock.wallMs() })
    .where("id", "=", id)
    .where("status", "=", "open")
    .executeTakeFirst();
  if (updated.numUpdatedRows === 0n && row.labelIndex !== index) {
    throw new FleetError("conflict", `${id} was answered before`);
  }
  await publishLabels(ctx, row.device);
  return getLabelRequest(ctx, id);
}

/** Answers for soaks that may still go on. Best effort: a device that is away gets them on its birth. */
export async function publishLabels(ctx: ControllerContext, device: string): Promise<void> {
  const { rows } = await answeredRequests(ctx.db, { device });
  const byAttempt = Map.groupBy(rows, ({ attempt }) => attempt);
  for (const [attempt, answered] of byAttempt) {
    await ctx.publish("labels", device, {
      attempt,
      model: answered[0]!.model,
      labels: answered.map(({ sample, labelIndex }) => ({ sample, index: labelIndex })),
    });
  }
}

const answeredRequests = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("labelRequests")
    .select(["attempt", "model", "sample", "labelIndex"])
    .where("device", "=", device)
    .where("status", "=", "answered")
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("soakReports")
            .select("soakReports.attempt")
            .whereRef("soakReports.attempt", "=", "labelRequests.attempt")
            .where("soakReports.verdict", "in", ["ended", "rolled-back"]),
        ),
      ),
    )
    .orderBy("answeredAtMs", "desc")
    .limit(labelsPerMessageMax),
);

async function requestRow(ctx: ControllerContext, id: string) {
  const row = await ctx.db
    .selectFrom("labelRequests")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) throw new FleetError("not-found", `no label request ${id}`);
  return row;
}

type RequestRow = Awaited<ReturnType<typeof requestRow>>;

function publicRequest(row: RequestRow, labels: readonly string[]) {
  const { inputsJson: _bytes, freshIndex, runningIndex, labelIndex, ...rest } = row;
  const named = (index: number) => labels[index] ?? String(index);
  return {
    ...rest,
    status: row.status as "open" | "answered",
    /** What each model answered. */
    newModelSays: named(freshIndex),
    oldModelSays: named(runningIndex),
    label: labelIndex === null ? null : named(labelIndex),
  };
}

async function labelsOf(
  ctx: ControllerContext,
  model: string,
  version: string,
): Promise<readonly string[]> {
  return labelsIn(await interfaceOf(ctx, model, version));
}

/** Empty for a model that does not classify. */
function labelsIn(found: ModelInterface | undefined): readonly string[] {
  return found?.output.kind === "classification" ? found.output.labels : [];
}

async function interfaceOf(
  ctx: ControllerContext,
  model: string,
  version: string,
): Promise<ModelInterface | undefined> {
  const row = await ctx.db
    .selectFrom("modelVersions")
    .select("interfaceJson")
    .where("model", "=", model)
    .where("version", "=", version)
    .executeTakeFirst();
  return row && modelInterfaceSchema.parse(JSON.parse(row.interfaceJson));
}

function indexOf(labels: readonly string[], label: string): number {
  const named = labels.indexOf(label);
  if (named >= 0) return named;
  const index = /^\d+$/.test(label) ? Number(label) : -1;
  if (index >= 0 && index < labels.length) return index;
  throw new FleetError("input-invalid", `no label ${label}; the model knows ${labels.join(", ")}`);
}
