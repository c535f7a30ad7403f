/**
 * Which of many hypotheses to look at first: the e-BH procedure (Wang and Ramdas, "False discovery rate
 * control with e-values", JRSS B 2022). Of those that it names, at most the share `fdr` is expected to be
 * healthy, whatever the dependence between the e-values.
 *
 * Invariant of the caller: the e-values are those of one look. Running maxima of e-processes are no
 * e-values, and what several looks named together has no bound.
 */

/** Whether each hypothesis, given as ln of its e-value, is named; in the order of `logEs`. */
export function eBenjaminiHochberg(logEs: readonly number[], fdr: number): boolean[] {
  const falling = logEs.toSorted((a, b) => b - a);
  const reaches = (logE: number, at: number) =>
    logE + Math.log(at + 1) >= Math.log(logEs.length) - Math.log(fdr) - rounding;
  const named = falling.findLastIndex(reaches);
  const least = falling[named] ?? Number.POSITIVE_INFINITY;
  return logEs.map((logE) => named >= 0 && logE >= least);
}

/** Two logarithms of one number may differ by this much; far below what any e-value means. */
const rounding = 1e-9;
