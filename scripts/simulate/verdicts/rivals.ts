/**
 * How other systems decide, on the same simulated fleet and in daily looks: each answers whether it stops
 * the release. They are here to be seen failing, so that the harness is known to have teeth.
 */

import { seededRandom } from "../../../shared/prng.ts";
import { mcnemarLogE, rhoFor, symmetricLogE } from "../../../shared/statistics/e-process.ts";
import { days, dropOf, inferencesPerDay, meanOf, type SimulatedPair } from "./fleet.ts";

export type Rival = (pairs: readonly SimulatedPair[], seed: number) => boolean;

/** Nominal level of the two tests, one-sided. */
const z99 = 2.326;
const accuracyWanted = 0.9;
const tolerance = 0.02;

/** Right answers of an arm in the first `day + 1` days, and all answers. */
function tally(pairs: readonly SimulatedPair[], arm: "canary" | "control", day: number) {
  let right = 0;
  let n = 0;
  for (const pair of pairs) {
    for (const mean of pair[arm].after.slice(0, day + 1)) {
      right += Math.round(mean * inferencesPerDay);
      n += inferencesPerDay;
    }
  }
  return { right, n };
}

const everyDay = Array.from({ length: days }, (_, day) => day);

/** A two-proportion z-test over all requests, looked at daily. */
export const pooledZTest: Rival = (pairs) =>
  everyDay.some((day) => {
    const control = tally(pairs, "control", day);
    const canary = tally(pairs, "canary", day);
    const share = (control.right + canary.right) / (control.n + canary.n);
    const error = Math.sqrt(share * (1 - share) * (1 / control.n + 1 / canary.n));
    return (control.right / control.n - canary.right / canary.n) / error > z99;
  });

const dailyMean = (pairs: readonly SimulatedPair[], day: number) =>
  meanOf(pairs.flatMap(({ canary }) => canary.after.slice(day, day + 1)));

const daysBelow = (pairs: readonly SimulatedPair[]) =>
  everyDay.filter((day) => dailyMean(pairs, day) < accuracyWanted - tolerance).length;

/** Argo Rollouts: a success condition per measurement, `failureLimit` 0 by default. */
export const argoLike: Rival = (pairs) => daysBelow(pairs) > 0;

/** Flagger: a minimum per check, rolled back after `threshold: 5` failed checks as in its documentation. */
export const flaggerLike: Rival = (pairs) => daysBelow(pairs) >= 5;

/** AWS IoT Jobs: abort when 10 % of at least 10 executions failed. */
export const awsLike: Rival = (pairs) => {
  const failed = pairs.filter(({ canary }) => canary.trial === "failed").length;
  return pairs.length >= 10 && failed / pairs.length >= 0.1;
};

const sharedSamples = 500;
const sharedDevices = 40;
const flipRate = 0.02;

/** Forty devices that all ran the same 500 golden samples, counted as if they were independent. */
export const sharedGoldenSet: Rival = (_pairs, seed) => {
  const random = seededRandom(seed);
  let worse = 0;
  let better = 0;
  for (let at = 0; at < sharedSamples; at++) {
    const draw = random.nextFloat();
    if (draw < flipRate) worse++;
    else if (draw < 2 * flipRate) better++;
  }
  for (let devices = 1; devices <= sharedDevices; devices++)
    if (mcnemarLogE(worse * devices, better * devices) >= Math.log(100)) return true;
  return false;
};

const delta = 0.02;
const beta = 0.05;
const deviation = 0.018;
const pairsTuned = 25;

/** The symmetric process of "drop ≥ delta" as a promoter: answers whether it promotes. */
export const reversedSymmetric: Rival = (pairs) => {
  const rho = rhoFor(pairsTuned * deviation ** 2, beta);
  const moments = { sum: 0, squares: 0 };
  for (const pair of pairs) {
    const x = delta - dropOf(pair);
    moments.sum += x;
    moments.squares += x * x;
    if (symmetricLogE(moments, rho) >= -Math.log(beta)) return true;
  }
  return false;
};
