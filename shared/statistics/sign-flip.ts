/** The sign-flip test: exact for any distribution that is symmetric around 0 under the null. */
import { seededRandom } from "../prng.ts";

/**
 * P value for "the values are symmetric around 0 or lie lower": the share of sign flips whose sum is at
 * least the one seen, (k + 1)/(draws + 1), which never rejects a true null too often (Phipson and Smyth
 * 2010). The seed makes it repeatable; it must not depend on the values.
 */
export function signFlipPValue(
  values: readonly number[],
  { draws, seed }: { draws: number; seed: number },
): number {
  const random = seededRandom(seed);
  const seen = values.reduce((sum, value) => sum + value, 0);
  let reached = 0;
  for (let draw = 0; draw < draws; draw++) {
    let sum = 0;
    let bits = 0;
    for (let at = 0; at < values.length; at++) {
      if (at % 32 === 0) bits = random.nextUint32();
      sum += (bits >>> (at % 32)) & 1 ? values[at]! : -values[at]!;
    }
    // Equal sums that rounding set apart still count.
    if (sum >= seen - 1e-12) reached++;
  }
  return (reached + 1) / (draws + 1);
}
