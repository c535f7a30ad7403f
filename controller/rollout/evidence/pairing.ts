/**
 * Canary and control by lot, inside strata of region and class, so that "the release does nothing" makes
 * the two devices of a pair interchangeable. The draw is repeatable: the seed is kept with the rollout.
 */
import { permutation, seededRandom } from "../../../shared/prng.ts";

export interface Pairable {
  readonly id: string;
  readonly region: string;
  readonly deviceClass: string;
}

export interface Pair {
  /** Unique in its rollout. */
  readonly pair: string;
  readonly stratum: string;
  readonly canary: string;
  readonly control: string;
}

export function stratumOf({ region, deviceClass }: Omit<Pairable, "id">): string {
  return `${region}/${deviceClass}`;
}

/**
 * Pairs up the devices of each stratum; who is left over in a stratum has no pair. `first` numbers the
 * pairs, after those of earlier stages.
 */
export function drawPairs(
  devices: readonly Pairable[],
  { seed, first }: { seed: number; first: number },
): { pairs: Pair[]; rest: string[] } {
  const random = seededRandom(seed);
  // The order must not depend on how the devices were listed.
  const sorted = [...devices].sort((a, b) => (a.id < b.id ? -1 : 1));
  const strata = Map.groupBy(sorted, stratumOf);
  const pairs: Pair[] = [];
  const rest: string[] = [];
  for (const stratum of [...strata.keys()].sort()) {
    const members = strata.get(stratum) ?? [];
    const drawn = [...permutation(random, members.length)].map((at) => members[at]!.id);
    for (let at = 0; at + 1 < drawn.length; at += 2) {
      const pair = `p-${first + pairs.length}`;
      pairs.push({ pair, stratum, canary: drawn[at]!, control: drawn[at + 1]! });
    }
    if (drawn.length % 2 === 1) rest.push(drawn.at(-1)!);
  }
  return { pairs, rest };
}
