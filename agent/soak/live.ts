/**
 * One open soak: takes in what happens, stores it, and acts on what follows.
 *
 * Invariants: a finding, its counts and its report are one transaction; taking back moves the pointer
 * in the transaction of its report, and only while the soak is still open.
 */
import { assert } from "../../shared/assert.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import type { Serving } from "../serving/serving.ts";
import type { SoakRow } from "../state/soak-rows.ts";
import { worldError } from "../world-error.ts";
import { shiftWarnings, withScores } from "./histograms.ts";
import { judgeSoak, type SoakFinding, soakNumbers } from "./judge.ts";
import { askForLabel } from "./label-desk.ts";
import type { ServingCounters } from "./serving-counters.ts";
import { type Comparison, createShadow, type Shadow } from "./shadow.ts";
import {
  type SoakCounts,
  type SoakFacts,
  soakCountsSchema,
  soakFactsSchema,
} from "./soak-state.ts";

export interface Live {
  readonly facts: SoakFacts;
  readonly shadow: Shadow;
  counts: SoakCounts;
  /** Differing samples from before the alarm. */
  waiting: Comparison[];
  takingBack: boolean;
}

/** What every soak of this device works with. */
export interface SoakRoom {
  readonly context: AgentContext;
  readonly messenger: Messenger;
  readonly serving: Serving;
  readonly counters: ServingCounters;
  /** Open soaks by model. */
  readonly lives: Map<string, Live>;
  readonly stopping: AbortSignal;
}

export function openLive(room: SoakRoom, row: SoakRow): Live {
  const facts = soakFactsSchema.parse(JSON.parse(row.factsJson));
  const live: Live = {
    facts,
    counts: soakCountsSchema.parse(JSON.parse(row.countsJson)),
    shadow: createShadow(room.context, facts, (comparison) => compared(room, live, comparison)),
    waiting: [],
    takingBack: false,
  };
  room.lives.set(facts.model, live);
  judge(room, live);
  return live;
}

/** What cannot be stored now is stored with what comes next. */
export function safely({ context, stopping }: SoakRoom, work: () => void): void {
  // The store is closed when the agent has stopped.
  if (stopping.aborted) return;
  try {
    work();
  } catch (error) {
    const known = worldError(error);
    if (known === undefined) throw error;
    context.log.warn("the soak waits", { code: known.code, error: known.message });
  }
}

export function change(room: SoakRoom, live: Live, counts: SoakCounts): void {
  live.counts = counts;
  judge(room, live);
}

/** Ends a soak with its report. */
export function endLive(room: SoakRoom, live: Live, finding: SoakFinding): void {
  const { context, messenger } = room;
  context.store.transaction(() => {
    context.store.removeSoak(live.facts.model);
    messenger.enqueue("soak-report", reportOf(room, live, finding));
  });
  close(room, live);
  messenger.flush();
}

function close({ lives }: SoakRoom, live: Live): void {
  lives.delete(live.facts.model);
  void live.shadow.stop();
}

function judge(room: SoakRoom, live: Live): void {
  const finding = judgeSoak(live.facts, live.counts);
  if (finding === undefined || live.takingBack) return;
  if (finding.verdict === "rolled-back") void takeBack(room, live, finding);
  else safely(room, () => announce(room, live, finding));
}

/** Reports a finding that leaves the model where it is; an alarm asks its questions with it. */
function announce(room: SoakRoom, live: Live, finding: SoakFinding): void {
  const { context, messenger } = room;
  const { verdict, why } = finding;
  const { attempt, model } = live.facts;
  const asks = verdict === "paused" ? live.waiting : [];
  live.counts = context.store.transaction(() => {
    const asked = asks.filter((each) => askForLabel(context, messenger, live.facts, each)).length;
    const counts = {
      ...live.counts,
      asked: live.counts.asked + asked,
      reached: [...live.counts.reached, verdict],
    };
    context.store.saveSoak(attempt, JSON.stringify(counts));
    messenger.enqueue("soak-report", reportOf(room, { ...live, counts }, finding));
    return counts;
  });
  if (verdict === "paused") live.waiting = [];
  context.log.info("soak", { model, verdict, why });
  messenger.flush();
}

/** Serves the model before again, and says so. What fails is tried at the next sign of trouble. */
async function takeBack(room: SoakRoom, live: Live, finding: SoakFinding): Promise<void> {
  const { context, messenger, serving, counters } = room;
  const { store, log } = context;
  const { model, previous, attempt, slot } = live.facts;
  assert(previous !== null, "a control has nothing to take back");
  live.takingBack = true;
  try {
    const candidate = await serving.prepare(model, previous.slot, previous.bundleSha256);
    // An update may have ended the soak meanwhile.
    if (room.stopping.aborted || store.soak(model)?.attempt !== attempt) {
      return await candidate.discard();
    }
    store.transaction(() => {
      counters.save();
      store.commitSlot(model, previous.slot);
      // Nothing may fall back to it.
      store.markSlot(model, slot, { ...store.slot(model, slot), status: "bad" });
      store.removeSoak(model);
      const report = reportOf(room, live, finding);
      messenger.enqueue("soak-report", { ...report, servingSha256: previous.bundleSha256 });
    });
    close(room, live);
    log.warn("the model before serves again", { model, code: finding.code, why: finding.why });
    await candidate.promote();
    messenger.flush();
  } catch (error) {
    if (worldError(error) === undefined) throw error;
    log.error("the model before could not be taken back", { model, error: String(error) });
  } finally {
    live.takingBack = false;
  }
}

function compared(room: SoakRoom, live: Live, comparison: Comparison): void {
  const { fresh, running } = comparison;
  const differs = fresh.index !== running.index;
  if (differs) noteDifference(room, live, comparison);
  const { counts } = live;
  change(room, live, {
    ...counts,
    compared: counts.compared + 1,
    disagreed: counts.disagreed + (differs ? 1 : 0),
    histograms: withScores(counts.histograms, fresh.scores, running.scores),
  });
}

/** After the alarm a question at once; before it the sample waits in memory. */
function noteDifference(room: SoakRoom, live: Live, comparison: Comparison): void {
  const { context, messenger } = room;
  const { facts, counts } = live;
  if (counts.asked + live.waiting.length >= facts.spec.labelRequestsMax) return;
  if (!counts.reached.includes("paused")) {
    live.waiting.push(comparison);
    return;
  }
  safely(room, () => {
    live.counts = context.store.transaction(() => {
      if (!askForLabel(context, messenger, facts, comparison)) return counts;
      const next = { ...counts, asked: counts.asked + 1 };
      context.store.saveSoak(facts.attempt, JSON.stringify(next));
      return next;
    });
  });
  messenger.flush();
}

function reportOf(
  { context, serving }: SoakRoom,
  { facts, counts }: Pick<Live, "facts" | "counts">,
  { verdict, code, why }: SoakFinding,
): PayloadOf<"soak-report"> {
  return {
    attempt: facts.attempt,
    model: facts.model,
    version: facts.version,
    bundleSha256: facts.bundleSha256,
    verdict,
    code,
    why,
    numbers: soakNumbers(facts, counts),
    histograms: counts.histograms,
    warnings: shiftWarnings(counts.histograms),
    servingSha256: serving.servedSha256(facts.model),
    emulated: context.emulated,
  };
}
