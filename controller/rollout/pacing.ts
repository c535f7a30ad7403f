/** How many more devices of a region may be offered something now; pure. */
import type { Stage } from "../../shared/api/stages.ts";

/** The span that `offersPerMinuteMax` counts over. */
export const rateWindowMs = 60_000;

export interface OfferLoad {
  /** Undecided offers inside their deadline, by region. */
  readonly openByRegion: ReadonlyMap<string, number>;
  /** Offers of the whole rollout in the last minute. */
  readonly offeredLately: number;
}

/** Rows of one batch; also the limit of a stage that sets none. */
export const batchMax = 500;

export function roomIn(
  region: string,
  stage: Pick<Stage, "concurrentMax" | "offersPerMinuteMax">,
  load: OfferLoad,
): number {
  const { concurrentMax, offersPerMinuteMax } = stage;
  const slots = (concurrentMax ?? Infinity) - (load.openByRegion.get(region) ?? 0);
  const rate = (offersPerMinuteMax ?? Infinity) - load.offeredLately;
  return Math.max(0, Math.min(batchMax, slots, rate));
}

/** The load after `count` more offers in a region. */
export function withOffers(load: OfferLoad, region: string, count: number): OfferLoad {
  const openByRegion = new Map(load.openByRegion);
  openByRegion.set(region, (openByRegion.get(region) ?? 0) + count);
  return { openByRegion, offeredLately: load.offeredLately + count };
}
