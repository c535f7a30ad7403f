/**
 * The kill switch: signed holds per tenant or region, sent at once and again on each birth.
 *
 * Invariants: the sequence of a scope only rises, also over a restore, because devices hand back what we
 * signed and have forgotten; agents that do not know holds are never sent one.
 */
import type { HoldAnswer } from "../../shared/api/routes/holds.ts";
import {
  type Hold,
  type HoldScope,
  scopeKey,
  signHold,
  verifyHold,
} from "../../shared/artifact/hold.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { messages, type PayloadOf } from "../../shared/protocol/registry.ts";
import { compareVersions } from "../../shared/versions.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { toEach } from "./broadcast.ts";

/** Oldest agent that reads the message. */
const agentMin = "0.2.0";

/** Errors: `not-found` for a region that neither the settings nor a device names. */
export async function changeHold(
  ctx: ControllerContext,
  order: { scope: HoldScope; held: boolean; reason: string },
): Promise<HoldAnswer> {
  const { scope, held, reason } = order;
  const nowMs = ctx.clock.wallMs();
  const hold = await ctx.db.transaction().execute(async (trx) => {
    await requireScope(ctx, trx, scope);
    const known = await newestHold(ctx, trx, scope);
    const next: Hold = {
      schema: "fleetfit/hold/1",
      tenant: ctx.config.tenant,
      scope,
      sequence: (known?.sequence ?? 0) + 1,
      held,
      reason,
      issuedAtMs: nowMs,
    };
    await storeHold(trx, next, signHold(next, ctx.signingKey));
    const kind = held ? "hold-set" : "hold-released";
    await recordEvent(trx, { atMs: nowMs, kind, subject: scopeKey(scope), message: reason });
    return next;
  });
  await publishHolds(ctx, scope);
  return answerOf(hold, await concernedDevices(ctx.db, scope));
}

async function requireScope(
  ctx: ControllerContext,
  trx: Database,
  scope: HoldScope,
): Promise<void> {
  if (scope.kind === "tenant" || ctx.fleet.regions.some(({ name }) => name === scope.region))
    return;
  const device = await trx
    .selectFrom("devices")
    .select("id")
    .where("region", "=", scope.region)
    .executeTakeFirst();
  if (device === undefined) {
    throw new FleetError("not-found", `there is no region named ${scope.region}`);
  }
}

/** The tenant's first, then the regions by name; released ones too. */
export async function listHolds(ctx: ControllerContext): Promise<HoldAnswer[]> {
  const rows = await ctx.db.selectFrom("holds").selectAll().orderBy("scope", "desc").execute();
  const answers: HoldAnswer[] = [];
  for (const { documentJson } of rows) {
    const hold = verifyHold(JSON.parse(documentJson), [ctx.signingKey.publicKey]);
    answers.push(answerOf(hold, await concernedDevices(ctx.db, hold.scope)));
  }
  return answers;
}

interface Concerned {
  readonly id: string;
  readonly region: string;
  readonly agentVersion: string;
  readonly reportedJson: string | null;
}

function concernedDevices(db: Database, to: HoldScope | { device: string }): Promise<Concerned[]> {
  const base = db
    .selectFrom("devices")
    .select(["id", "region", "agentVersion", "reportedJson"])
    .where("standing", "!=", "retired");
  if ("device" in to) return base.where("id", "=", to.device).execute();
  if (to.kind === "region") return base.where("region", "=", to.region).execute();
  return base.execute();
}

const knowsHolds = ({ agentVersion }: Concerned) => compareVersions(agentVersion, agentMin) >= 0;

function answerOf(hold: Hold, devices: readonly Concerned[]): HoldAnswer {
  const { scope, sequence, held, reason, issuedAtMs } = hold;
  const key = scopeKey(scope);
  const reached = devices.filter(({ reportedJson }) => {
    if (reportedJson === null) return false;
    const { holds } = messages.reported.schema.parse(JSON.parse(reportedJson));
    return holds.some((one) => one.scope === key && one.sequence >= sequence);
  });
  return {
    scope,
    sequence,
    held,
    reason,
    issuedAtMs,
    devices: {
      total: devices.length,
      reached: reached.length,
      tooOld: devices.filter((device) => !knowsHolds(device)).length,
    },
  };
}

/** Best effort: a device that is away gets them on its next birth. */
export async function publishHolds(
  ctx: ControllerContext,
  to: HoldScope | { device: string },
): Promise<void> {
  const rows = await ctx.db.selectFrom("holds").selectAll().execute();
  if (rows.length === 0) return;
  const documents = new Map(
    rows.map(({ scope, documentJson }) => [scope, JSON.parse(documentJson) as Signed]),
  );
  await toEach((await concernedDevices(ctx.db, to)).filter(knowsHolds), async (device) => {
    const scopes: HoldScope[] = [{ kind: "tenant" }, { kind: "region", region: device.region }];
    const holds = scopes.flatMap((scope) => documents.get(scopeKey(scope)) ?? []);
    if (holds.length > 0) await ctx.publish("hold", device.id, { holds });
  });
}

/**
 * Takes back what a device knows and we do not: what we signed before a restore. Answers the scopes whose
 * devices have to be told.
 */
export async function learnHolds(
  ctx: ControllerContext,
  trx: Database,
  reported: PayloadOf<"reported">["holds"],
): Promise<HoldScope[]> {
  const learnt: HoldScope[] = [];
  for (const { document } of reported) {
    const hold = document === null ? undefined : ownHold(ctx, document);
    if (document === null || hold === undefined) continue;
    const known = await newestHold(ctx, trx, hold.scope);
    if (hold.sequence <= (known?.sequence ?? 0)) continue;
    await storeHold(trx, hold, document);
    const message = `a device knew ${hold.held ? "a hold" : "a release"} of sequence ${hold.sequence} that was forgotten here: ${hold.reason}`;
    const event = { kind: "hold-learned", subject: scopeKey(hold.scope), message };
    await recordEvent(trx, { atMs: ctx.clock.wallMs(), ...event });
    learnt.push(hold.scope);
  }
  return learnt;
}

/** Undefined for what this controller's key did not sign: a device cannot make up a hold. */
function ownHold(ctx: ControllerContext, document: Signed): Hold | undefined {
  try {
    const hold = verifyHold(document, [ctx.signingKey.publicKey]);
    return hold.tenant === ctx.config.tenant ? hold : undefined;
  } catch (error) {
    if (!isFleetError(error)) throw error;
    ctx.log.warn("a reported hold is not ours", { code: error.code, error: error.message });
    return undefined;
  }
}

async function newestHold(
  ctx: ControllerContext,
  trx: Database,
  scope: HoldScope,
): Promise<Hold | undefined> {
  const row = await trx
    .selectFrom("holds")
    .select("documentJson")
    .where("scope", "=", scopeKey(scope))
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return verifyHold(JSON.parse(row.documentJson), [ctx.signingKey.publicKey]);
}

async function storeHold(trx: Database, hold: Hold, document: Signed): Promise<void> {
  const { sequence } = hold;
  const documentJson = JSON.stringify(document);
  await trx
    .insertInto("holds")
    .values({ scope: scopeKey(hold.scope), sequence, documentJson })
    .onConflict((conflict) => conflict.column("scope").doUpdateSet({ sequence, documentJson }))
    .execute();
}
