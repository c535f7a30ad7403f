/** What the pairs of one signal at one horizon come to. */
export interface SeriesStand {
  readonly signal: string;
  /** Time after the commit; 0 is the trial. */
  readonly horizonMs: number;
  readonly pairs: number;
  /** Above 0 is worse; NaN without pairs. */
  readonly meanDrop: number;
}

/** One test: its evidence against "no harm" (or, for a promotion, against "harm"), and what it needs. */
export interface TestValue {
  readonly name: string;
  /** Stratum that the test speaks for; undefined for the whole fleet. */
  readonly stratum?: string;
  /** What it rests on, for a test of pairs. */
  readonly series?: SeriesStand;
  /** What was found, in words with its numbers, for a test of devices. */
  readonly finding?: string;
  readonly logE: number;
  readonly logThreshold: number;
}
