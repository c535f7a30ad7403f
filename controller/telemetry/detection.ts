/**
 * Whether a released bundle has come to err more often than before, purely: an e-detector over the share
 * of errors in each window of serving, per bundle and region.
 *
 * Invariant: while the mean share is at most `shareMax`, given whatever came before, the mean number of
 * windows to a false alarm is at least `windowsToFalseAlarm`, in each stream and for any distribution;
 * what is asked beyond that makes alarms rarer still.
 */
import {
  type LogWealth,
  meanLogE,
  noDetection,
  withDetections,
} from "../../shared/statistics/e-process.ts";

/**
 * Reference, rollout statistics §2.2.9. At the default window of five minutes a hundred devices of one
 * region send as many in 17 days, longer than anybody waits for the next release; and a healthy bundle
 * is far below `shareMax`, where alarms are rarer still.
 */
export const windowsToFalseAlarm = 500_000;

/** A change that is borne: inputs and days differ by as much without any release. */
const shareFactor = 2;
const shareMargin = 0.01;

/** Highest mean share that is no regression, from the share before the rollout. */
export function shareMaxOf(shareBefore: number): number {
  return Math.min(shareHighest, shareFactor * shareBefore + shareMargin);
}

/** A bundle that always failed cannot get worse; the test needs room above its mean. */
const shareHighest = 0.99;

/** Plain data, so that it can be stored. */
export interface Detection {
  readonly shareMax: number;
  readonly windows: number;
  /** Sum of the shares of its windows. */
  readonly shareSum: number;
  /** ln of the detector of each bet. */
  readonly logDetectors: LogWealth;
}

export function newDetection(shareBefore: number): Detection {
  const shareMax = shareMaxOf(shareBefore);
  return { shareMax, windows: 0, shareSum: 0, logDetectors: noDetection() };
}

/** `share` of the calls of one window that failed, 0 to 1. */
export function withWindow(before: Detection, share: number): Detection {
  const test = { mean: before.shareMax, low: 0, high: 1, side: "above" } as const;
  return {
    ...before,
    windows: before.windows + 1,
    shareSum: before.shareSum + share,
    logDetectors: withDetections(before.logDetectors, share, test),
  };
}

export function hasAlarm({ logDetectors }: Detection): boolean {
  return meanLogE(logDetectors) >= Math.log(windowsToFalseAlarm);
}

/** One window of one device. */
export interface DeviceWindow {
  readonly device: string;
  readonly share: number;
}

/**
 * Whether the others say so too: the newest windows, oldest first, without the device that failed most in
 * them, come half way to an alarm. One broken device is no regression of a release. A region with one
 * device has nobody else to ask.
 */
export function isShared(windows: readonly DeviceWindow[], shareBefore: number): boolean {
  const failed = new Map<string, number>();
  for (const { device, share } of windows) failed.set(device, (failed.get(device) ?? 0) + share);
  if (failed.size <= 1) return true;
  const [worst] = [...failed].reduce((a, b) => (b[1] > a[1] ? b : a));
  const others = windows
    .filter(({ device }) => device !== worst)
    .reduce((found, { share }) => withWindow(found, share), newDetection(shareBefore));
  return meanLogE(others.logDetectors) >= Math.log(windowsToFalseAlarm) / 2;
}
