/**
 * Turns the wanted state into attempts and measurements, one at a time on this device: two trials at
 * once would judge each other's load.
 *
 * Invariants: of one run of the controller, a document with an older revision is ignored (a restored
 * controller counts anew, so another run is listened to) and the same one changes nothing; an attempt
 * that has an outcome is never tried again, its outcome is sent again to a controller that does not know
 * it; what a document no longer names is withdrawn; an attempt that must wait lets others go on; a
 * failure of the disk or the database stops updates for a while and never the program.
 */
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import { signedSchema } from "../../shared/artifact/signature.ts";
import { type BackoffOptions, backoffMs } from "../../shared/backoff.ts";
import { isFleetError } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AttemptRow } from "../state/store.ts";
import { believedNow } from "../time.ts";
import { worldError } from "../world-error.ts";
import { findCosts } from "./costs.ts";
import { type Parked, runAttempt, type UpdateParts } from "./executor.ts";
import { collectArtifacts, filesToInstall, namedArtifacts } from "./fetch.ts";
import { measureOnce, resendResults } from "./measurement.ts";
import { refuse, target } from "./target.ts";

type Desired = PayloadOf<"desired">;

export interface Updater {
  /** Resumes what a restart interrupted. */
  start(): void;
  /** `sender` names the run of the controller that sent the document. */
  setDesired(desired: Desired, sender: string): void;
  desiredRevision(): number;
  /** Leaves what is under way as it is stored; resolves when nothing is touched any more. */
  stop(): Promise<void>;
}

/** Pauses while disk or database fail: someone must first free space. */
const failureBackoff: BackoffOptions = { baseMs: 1_000, capMs: 60_000 };
/** How often an attempt that waits is looked at: windows count in minutes, power changes unheard. */
const lookEveryMs = 60_000;
const lookEarliestMs = 1_000;
/** Concluded attempts that are remembered beside those that are still named. */
const attemptsKept = 100;

interface State {
  desired: Desired | undefined;
  sender: string | undefined;
  /** False until every model of `desired` was turned into an attempt. */
  targeted: boolean;
  current: { id: string; withdrawn: AbortController } | undefined;
  /** Attempts that wait, with what was last reported of them. */
  parked: Map<string, Parked>;
}

export function createUpdater(parts: UpdateParts & { onnxruntime: string }): Updater {
  const { context } = parts;
  const { clock, random, log } = context;
  const stopping = new AbortController();
  const state: State = {
    desired: undefined,
    sender: undefined,
    targeted: true,
    current: undefined,
    parked: new Map(),
  };
  let cancelLook = () => {};
  let working: Promise<void> | undefined;
  let woken = false;

  /** Work that arrives while the worker is on its way out must not wait for the next message. */
  const wake = (): void => {
    woken = true;
    if (working !== undefined || stopping.signal.aborted) return;
    working = workWhileWoken().finally(() => {
      working = undefined;
    });
    working.catch((error: unknown) => {
      log.error("the updater failed", { error: String(error) });
      throw error;
    });
  };
  const workWhileWoken = async (): Promise<void> => {
    let failures = 0;
    while (woken && !stopping.signal.aborted) {
      woken = false;
      try {
        await work(parts, state, stopping.signal);
        failures = 0;
        cancelLook();
        if (stopping.signal.aborted) return;
        if (state.parked.size > 0) cancelLook = clock.after(nextLookMs(context, state), wake);
      } catch (error) {
        if (stopping.signal.aborted) return;
        const known = worldError(error);
        if (known === undefined) throw error;
        log.error("updates wait", { code: known.code, error: known.message });
        await clock.sleep(backoffMs(failureBackoff, failures++, random), stopping.signal);
        woken = true;
      }
    }
  };

  parts.holds.onChange(wake);
  return {
    start: wake,
    desiredRevision: () => state.desired?.revision ?? -1,
    setDesired(next, sender) {
      const known = state.sender === sender ? state.desired : undefined;
      if (known !== undefined && next.revision < known.revision) return;
      // The revision rises with each change: this is the answer to another birth.
      if (known?.revision === next.revision && state.targeted) return;
      if (state.targeted && isSettled(state.desired, next)) {
        state.sender = sender;
        return;
      }
      Object.assign(state, { desired: next, sender, targeted: false } satisfies Partial<State>);
      try {
        targetAll(parts, state);
      } catch (error) {
        if (worldError(error) === undefined) throw error;
        log.error("the wanted state could not be stored yet", { error: String(error) });
      }
      const open = state.current && context.store.attempt(state.current.id);
      if (open !== undefined && isWithdrawn(state, open)) state.current?.withdrawn.abort();
      wake();
    },
    async stop() {
      stopping.abort();
      cancelLook();
      await working?.catch(() => {});
    },
  };
}

/** Another run of the controller wants what was followed already, and has all that was found out. */
function isSettled(known: Desired | undefined, next: Desired): boolean {
  const isKnown = Object.values(next.models).every(({ outcomeKnown }) => outcomeKnown);
  const isMeasured = next.measurements.length === 0 && next.costs === null;
  return isKnown && isMeasured && JSON.stringify(known) === JSON.stringify(next);
}

function targetAll(parts: UpdateParts & { onnxruntime: string }, state: State): void {
  const { desired } = state;
  if (desired?.standing === "active") {
    for (const [model, { attempt, outcomeKnown, manifest }] of Object.entries(desired.models)) {
      target(parts, { model, attempt, outcomeKnown, document: manifest });
    }
    const bundles = desired.measurements.map(({ measurement }) => measurement);
    resendResults(parts, "measurement", bundles);
    resendResults(parts, "cost-table", desired.costs === null ? [] : [desired.costs.measurement]);
  }
  state.targeted = true;
  parts.messenger.flush();
}

/** In a minute, or earlier when a window opens. */
function nextLookMs(context: UpdateParts["context"], { parked }: State): number {
  const nowMs = believedNow(context).ms;
  const waits = [...parked.values()].map(({ waiting }) => (waiting.untilMs ?? Infinity) - nowMs);
  return Math.max(lookEarliestMs, Math.min(lookEveryMs, ...waits));
}

/** Does all that may be done now, attempts before measurements, and clears up behind it. */
async function work(
  parts: UpdateParts & { onnxruntime: string },
  state: State,
  stopping: AbortSignal,
): Promise<void> {
  const { store } = parts.context;
  const seen = new Set<string>();
  while (!stopping.aborted) {
    if (!state.targeted) targetAll(parts, state);
    const row = store.openAttempts().find((one) => !seen.has(one.id) || isWithdrawn(state, one));
    if (row !== undefined) {
      seen.add(row.id);
      park(parts, state, row.id, await attemptOnce(parts, state, row, stopping));
      continue;
    }
    if (parts.holds.reason() !== undefined) break;
    if (!(await measureNext(parts, state, stopping))) break;
  }
  if (!stopping.aborted) await collect(parts, state);
}

/** Bundles first, since a choice waits for them; false when nothing is left to measure. */
async function measureNext(
  parts: UpdateParts & { onnxruntime: string },
  { desired }: State,
  stopping: AbortSignal,
): Promise<boolean> {
  if (desired?.standing !== "active") return false;
  const isOpen = ({ measurement }: { measurement: string }) =>
    !parts.context.store.measurementDone(measurement);
  const { costs } = desired;
  const bundle = desired.measurements.find(isOpen);
  if (bundle !== undefined) {
    await measureOnce(parts, bundle.measurement, bundle.manifest, stopping);
    return true;
  }
  if (costs === null || !isOpen(costs)) return false;
  await findCosts(parts, costs, stopping);
  return true;
}

/** Remembers why an attempt waits, and reports it when that is news. */
function park(parts: UpdateParts, { parked }: State, id: string, now: Parked | undefined): void {
  const before = parked.get(id);
  if (now === undefined) {
    parked.delete(id);
    return;
  }
  parked.set(id, now);
  const isNews =
    before?.state !== now.state ||
    before.waiting.code !== now.waiting.code ||
    before.waiting.untilMs !== now.waiting.untilMs;
  if (isNews) parts.onProgress(id, now.state, 0, now.waiting);
}

async function attemptOnce(
  parts: UpdateParts,
  state: State,
  row: AttemptRow,
  stopping: AbortSignal,
): Promise<Parked | undefined> {
  const { store, identity } = parts.context;
  const document = signedSchema.parse(JSON.parse(row.manifestJson));
  const withdrawn = new AbortController();
  state.current = { id: row.id, withdrawn };
  try {
    if (isWithdrawn(state, row)) withdrawn.abort();
    const manifest = verifyManifest(document, identity.signingKeys);
    return await runAttempt(parts, row, manifest, { withdrawn: withdrawn.signal, stopping });
  } catch (error) {
    // A document that was accepted before and no longer holds ends its attempt.
    if (!isFleetError(error, "signature-invalid") && !isFleetError(error, "manifest-invalid")) {
      throw error;
    }
    store.transaction(() => refuse(parts, { model: row.model, attempt: row.id, document }, error));
    return undefined;
  } finally {
    state.current = undefined;
  }
}

function isWithdrawn({ desired }: State, row: { id: string; model: string }): boolean {
  if (desired === undefined) return false;
  return desired.standing !== "active" || desired.models[row.model]?.attempt !== row.id;
}

/** Forgets what the wanted state no longer names. */
async function collect(parts: UpdateParts, { desired }: State): Promise<void> {
  if (desired === undefined) return;
  const { context } = parts;
  const attempts = Object.values(desired.models);
  context.store.pruneAttempts(
    attempts.map(({ attempt }) => attempt),
    attemptsKept,
  );
  const costs = desired.costs === null ? [] : [desired.costs];
  const measured = [...desired.measurements, ...costs];
  context.store.pruneMeasurements(measured.map(({ measurement }) => measurement));
  const named = [...attempts, ...desired.measurements].map(({ manifest }) => manifest);
  const orders = costs.map(({ order }) => order);
  const open = context.store.openAttempts().map((row) => JSON.parse(row.manifestJson));
  const keep = namedArtifacts([...named, ...orders, ...open]);
  for (const file of await filesToInstall(context, open)) keep.add(file);
  await collectArtifacts(context, keep);
}
