/** What comes due while a soak goes on: observations at its horizons, and its end. */

import { endLive, type Live, type SoakRoom } from "./live.ts";
import { signalsOf } from "./observe.ts";
import type { SoakFacts } from "./soak-state.ts";

/** A soak lasts until its last horizon was reported. */
const lengthMs = ({ spec }: SoakFacts): number => Math.max(spec.durationMs, ...spec.horizonsMs);

/** Reports what is due by now. Throws when it cannot be stored. */
export function keepTime(room: SoakRoom, live: Live): void {
  const lastedMs = room.counters.nowMs() - live.facts.startedMs;
  for (const horizonMs of horizonsLeft(live)) {
    if (lastedMs >= horizonMs) observe(room, live, horizonMs);
  }
  if (lastedMs < lengthMs(live.facts)) return;
  const { calls, crashes, compared, disagreed } = live.counts;
  const hours = (lengthMs(live.facts) / 3_600_000).toFixed(1);
  const why = `watched for ${hours} hours of operation: ${calls} inferences, ${crashes} crashes, ${disagreed} of ${compared} shadowed answers differ`;
  endLive(room, live, { verdict: "ended", code: "soak-complete", why });
}

/** Operating time at which something is due next. */
export function nextDueMs(live: Live): number {
  const { facts } = live;
  return facts.startedMs + Math.min(lengthMs(facts), ...horizonsLeft(live));
}

function horizonsLeft({ facts, counts }: Live): number[] {
  return facts.spec.horizonsMs.filter((at) => !counts.horizonsMs.includes(at));
}

function observe({ context, messenger, counters }: SoakRoom, live: Live, horizonMs: number): void {
  const { attempt, model, arm, startedMs, bundleSha256, previous } = live.facts;
  const old = { model, bundleSha256: previous?.bundleSha256 ?? bundleSha256 };
  const spans = {
    before: counters.over(old, startedMs - horizonMs, startedMs),
    after: counters.over(live.facts, startedMs, startedMs + horizonMs),
  };
  const counts = { ...live.counts, horizonsMs: [...live.counts.horizonsMs, horizonMs] };
  const signals = signalsOf(live.facts, counts, spans);
  const { emulated } = context;
  context.store.transaction(() => {
    context.store.saveSoak(attempt, JSON.stringify(counts));
    messenger.enqueue("observation", { attempt, model, arm, horizonMs, signals, emulated });
  });
  live.counts = counts;
  messenger.flush();
}
