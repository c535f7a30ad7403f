/**
 * What must hold after whatever happened to a device. Each invariant reads observations and the
 * controller's database and answers what is wrong, or nothing.
 */
import type { ControllerContext } from "../../../controller/context.ts";
import { type Manifest, verifyManifest } from "../../../shared/artifact/manifest.ts";
import type { Answer } from "../../../shared/inference/processing/answer.ts";
import { modelName, type Version } from "../world/catalogue.ts";
import { answerOf } from "../world/synthetic-model.ts";
import type { Observation } from "./observation.ts";

/** What the device's own software got from the serving process for `sample`. */
export interface Asked {
  readonly sample: Uint8Array;
  readonly answer: Answer | undefined;
}

export interface Case {
  readonly ctx: ControllerContext;
  readonly device: string;
  /** What the device was offered; undefined when nothing was. */
  readonly attempt: string | undefined;
  readonly versions: readonly Version[];
  /** Taken at each boot after the first, and at the end; in order. */
  readonly atBoots: readonly Observation[];
  readonly atEnd: Observation;
  /** Undefined where nobody asked. */
  readonly asked: Asked | undefined;
  /** Ways in which the attempt may end; empty for any. */
  readonly endings: readonly string[];
}

type Check = (run: Case) => Promise<string | undefined> | string | undefined;

export type InvariantName = keyof typeof invariants;

const seen = (run: Case) => [...run.atBoots, run.atEnd];
const firstOf = <T>(items: readonly T[], fault: (item: T) => string | undefined) =>
  items.map(fault).find((text) => text !== undefined);

const boots: Check = (run) =>
  firstOf(seen(run), ({ isUp, faults }) =>
    faults.length > 0 ? faults.join("; ") : isUp ? undefined : "the agent is not up",
  );

/** The pointer never names a slot whose files were not verified. */
const pointerVerified: Check = (run) =>
  firstOf(seen(run), ({ committed }) => {
    if (committed === undefined) return "no slot is committed";
    return committed.status === "ready"
      ? undefined
      : `the committed slot ${committed.slot} is ${committed.status}`;
  });

/** The committed slot holds the bytes of its bundle. */
const slotIntact: Check = async (run) => {
  const variants = await run.ctx.db.selectFrom("variants").selectAll().execute();
  return firstOf(seen(run), ({ committed, descriptorSha256, modelSha256 }) => {
    const wanted = variants.find(({ bundleSha256 }) => bundleSha256 === committed?.bundleSha256);
    if (wanted === undefined) return `no bundle is named ${committed?.bundleSha256}`;
    if (descriptorSha256 !== wanted.bundleSha256) return `its descriptor is ${descriptorSha256}`;
    return modelSha256 === wanted.modelSha256 ? undefined : `its model file is ${modelSha256}`;
  });
};

/** A process holds the committed model, and answers as that model does. */
const servesCommitted: Check = async (run) => {
  const variants = await run.ctx.db.selectFrom("variants").selectAll().execute();
  const notLoaded = firstOf(seen(run), ({ committed, loaded }) => {
    const wanted = variants.find(({ bundleSha256 }) => bundleSha256 === committed?.bundleSha256);
    return loaded.includes(wanted?.modelSha256 ?? "none")
      ? undefined
      : `no process holds the committed model ${committed?.bundleSha256}`;
  });
  if (notLoaded !== undefined) return notLoaded;
  if (run.asked === undefined) return undefined;
  const { committed } = run.atEnd;
  const version = run.versions.find(({ bundleSha256 }) => bundleSha256 === committed?.bundleSha256);
  if (version === undefined) return "what is committed is no version";
  const expected = JSON.stringify(answerOf(version.model, run.asked.sample));
  return JSON.stringify(run.asked.answer) === expected
    ? undefined
    : `it answers ${JSON.stringify(run.asked.answer)}, not ${expected}`;
};

/** A manifest for this device, signed by the controller's key, names what is committed. */
const signed: Check = async (run) => {
  const { ctx } = run;
  const rows = await ctx.db
    .selectFrom("attempts")
    .select("manifestJson")
    .where("device", "=", run.device)
    .execute();
  const committed = new Set(seen(run).map((each) => each.committed?.bundleSha256));
  const named = rows
    .map(({ manifestJson }) => JSON.parse(manifestJson) as { signed: Manifest })
    .filter(({ signed: manifest }) => committed.has(manifest.bundle.sha256))
    .map((document) => verifyManifest(document, [ctx.signingKey.publicKey]));
  return firstOf(seen(run), ({ committed }) =>
    named.some(
      ({ bundle, device }) => bundle.sha256 === committed?.bundleSha256 && device === run.device,
    )
      ? undefined
      : `no signed manifest names ${committed?.bundleSha256}`,
  );
};

async function serverRow({ ctx, attempt }: Case) {
  if (attempt === undefined) return undefined;
  return ctx.db.selectFrom("attempts").selectAll().where("id", "=", attempt).executeTakeFirst();
}

const oneOutcome: Check = async (run) => {
  if (run.attempt === undefined) return undefined;
  const row = await serverRow(run);
  if (row === undefined) return "the server made no offer";
  const { outcome } = row;
  if (outcome === null) return "the server knows no outcome";
  const events = await run.ctx.db
    .selectFrom("events")
    .select(["kind", "dataJson"])
    .where("kind", "like", "attempt-%")
    .where("subject", "=", run.device)
    .execute();
  const own = events.filter(({ dataJson }) => dataJson.includes(`"${run.attempt}"`));
  if (own.length !== 1) return `the server recorded ${own.length} outcomes`;
  return own[0]?.kind === `attempt-${outcome}` ? undefined : `${own[0]?.kind}, but ${outcome}`;
};

/**
 * The server says "committed" exactly when the device's pointer names the bundle that was ordered, but for
 * what the device told it since: that it took the release back.
 */
const outcomeTrue: Check = async (run) => {
  const row = await serverRow(run);
  if (row === undefined) return undefined;
  const { outcome, bundleSha256, why } = row;
  const runs = run.atEnd.committed?.bundleSha256 === bundleSha256;
  const takenBack = await run.ctx.db
    .selectFrom("soakReports")
    .select("attempt")
    .where("attempt", "=", row.id)
    .where("verdict", "=", "rolled-back")
    .executeTakeFirst();
  return (outcome === "committed" && takenBack === undefined) === runs
    ? undefined
    : `the server was told ${outcome} (${why}), and the device ${runs ? "runs" : "does not run"} it`;
};

const endsAsItMust: Check = async (run) => {
  const row = await serverRow(run);
  if (row === undefined || run.endings.length === 0) return undefined;
  const { outcome, why } = row;
  return run.endings.includes(outcome ?? "") ? undefined : `it ended ${outcome}: ${why}`;
};

const counterNeverFalls: Check = async (run) => {
  const counters = seen(run).map(({ counterHighest }) => counterHighest);
  const fell = counters.some((counter, at) => counter < (counters[at - 1] ?? 0));
  if (fell) return `the device's release counter went ${counters.join(", ")}`;
  const row = await run.ctx.db
    .selectFrom("releaseCounters")
    .select("counter")
    .where("model", "=", modelName)
    .executeTakeFirstOrThrow();
  return row.counter >= run.atEnd.counterHighest
    ? undefined
    : `the server counts ${row.counter}, the device ${run.atEnd.counterHighest}`;
};

export const invariants = {
  boots,
  "pointer-verified": pointerVerified,
  "slot-intact": slotIntact,
  "serves-committed": servesCommitted,
  signed,
  "one-outcome": oneOutcome,
  "outcome-true": outcomeTrue,
  "ends-as-it-must": endsAsItMust,
  "counter-never-falls": counterNeverFalls,
} satisfies Record<string, Check>;

/** What does not hold, by invariant. */
export async function broken(run: Case): Promise<{ invariant: InvariantName; what: string }[]> {
  const found: { invariant: InvariantName; what: string }[] = [];
  for (const [name, check] of Object.entries(invariants)) {
    const what = await (check as Check)(run);
    if (what !== undefined) found.push({ invariant: name as InvariantName, what });
  }
  return found;
}
