/** How many more devices of a region and link may be offered something now; pure. */
import type { Stage } from "../../shared/api/stages.ts";

/** The span that `offersPerMinuteMax` counts over. */
export const rateWindowMs = 60_000;

/** What devices share when they are offered something together. */
export interface Place {
  readonly region: string;
  readonly link: string;
}

export interface OfferLoad {
  /** Undecided offers inside their deadline. */
  readonly openByRegion: ReadonlyMap<string, number>;
  readonly openByLink: ReadonlyMap<string, number>;
  /** Offers of the whole rollout in the last minute. */
  readonly offeredLately: number;
}

/** Rows of one batch; also the limit of a stage that sets none. */
export const batchMax = 500;

type Limits = Pick<Stage, "concurrentMax" | "concurrentPerLink" | "offersPerMinuteMax">;

export function roomIn(
  { region, link }: Place,
  { concurrentMax, concurrentPerLink, offersPerMinuteMax }: Limits,
  load: OfferLoad,
): number {
  const slots = (concurrentMax ?? Infinity) - (load.openByRegion.get(region) ?? 0);
  const onLink = linkMax(concurrentPerLink, link) - (load.openByLink.get(link) ?? 0);
  const rate = (offersPerMinuteMax ?? Infinity) - load.offeredLately;
  return Math.max(0, Math.min(batchMax, slots, onLink, rate));
}

function linkMax(limits: Limits["concurrentPerLink"], link: string): number {
  if (limits === null) return Infinity;
  if (typeof limits === "number") return limits;
  return Object.hasOwn(limits, link) ? (limits[link] ?? Infinity) : Infinity;
}

/** The load after `count` more offers in a place. */
export function withOffers(load: OfferLoad, place: Place, count: number): OfferLoad {
  return { ...withOpen(load, place, count), offeredLately: load.offeredLately + count };
}

/** The load with `count` offers that are open, of whatever time. */
export function withOpen(load: OfferLoad, { region, link }: Place, count: number): OfferLoad {
  return {
    openByRegion: raised(load.openByRegion, region, count),
    openByLink: raised(load.openByLink, link, count),
    offeredLately: load.offeredLately,
  };
}

function raised(counts: ReadonlyMap<string, number>, key: string, count: number) {
  return new Map(counts).set(key, (counts.get(key) ?? 0) + count);
}
