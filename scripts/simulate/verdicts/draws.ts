/** Seeded draws from the distributions of the simulated fleets. */
import type { Random } from "../../../shared/prng.ts";

/** Standard normal (Box and Muller 1958). */
export function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.nextFloat()));
  return radius * Math.cos(2 * Math.PI * random.nextFloat());
}

/** Student's t with 3 degrees of freedom, scaled to a standard deviation of 1: tails of field data. */
export function heavyTailed(random: Random): number {
  const squares = normal(random) ** 2 + normal(random) ** 2 + normal(random) ** 2;
  // The variance of t3 is 3.
  return normal(random) / Math.sqrt(squares / 3) / Math.sqrt(3);
}

export function happens(random: Random, probability: number): boolean {
  return random.nextFloat() < probability;
}

/** Events of a count with this mean: as many as fit (Knuth), or the normal limit of a large one. */
export function poisson(random: Random, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = -1;
  for (let product = 1; product > limit; product *= random.nextFloat()) count++;
  return Math.max(0, count);
}

/** In place (Fisher and Yates). */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = random.nextInt(last + 1);
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
  return items;
}
