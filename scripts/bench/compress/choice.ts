/**
 * Which of our files is sent where one alone may be: as accurate as the best, as fast as the fastest of those,
 * about as small as the smallest of these, and then the one with the most right answers, since between files
 * of one time and one size accuracy costs nothing.
 */
import { bestOf, byAccuracy, flipsBetween, type Graded } from "./grade.ts";

/** Of its best file, that a choice may give away for speed. */
const lossMax = 0.0025;
/** Times, and sizes, that differ by less than this factor count as one. */
const sameTime = 1.03;
const sameSize = 1.1;
/** A coarse look at times is off by up to this factor. */
const coarseTime = 1.15;
/** Files of one kind that are worth a closer look. */
export const finalists = 3;

/**
 * Within a quarter of a point of the best, or within half a standard error of the paired difference: on the
 * 2,000 samples that files are picked on a whole one is half a point, and the best is the best by luck too.
 */
export function isAsAccurate(each: Graded, best: Graded): boolean {
  const { worse, better } = flipsBetween(each, best);
  const noise = Math.sqrt(worse + better) / 2;
  return best.hits - each.hits <= Math.max(lossMax * best.right.length, noise);
}

/** The fastest by a coarse look, and the most accurate of those that may be as fast. */
export function finalistsOf(
  equals: readonly Graded[],
  coarseMsOf: (each: Graded) => number,
): readonly Graded[] {
  const byTime = equals.toSorted((a, b) => coarseMsOf(a) - coarseMsOf(b));
  const leastMs = Math.min(...equals.map(coarseMsOf));
  const near = byTime.slice(finalists).filter((each) => coarseMsOf(each) <= coarseTime * leastMs);
  return [...byTime.slice(0, finalists), ...near.toSorted(byAccuracy).slice(0, finalists)];
}

/** The one to send of files whose times were measured; there is at least one. */
export function chosenOf(files: readonly Graded[], timeMsOf: (each: Graded) => number): Graded {
  const leastMs = Math.min(...files.map(timeMsOf));
  const asFast = files.filter((each) => timeMsOf(each) <= sameTime * leastMs);
  const leastBytes = Math.min(...asFast.map(({ variant }) => variant.bytes.length));
  return bestOf(asFast.filter(({ variant }) => variant.bytes.length <= sameSize * leastBytes))!;
}
