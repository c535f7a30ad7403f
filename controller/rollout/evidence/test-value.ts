/** One test: its evidence against "no harm" (or, for a promotion, against "harm"), and what it needs. */
export interface TestValue {
  readonly name: string;
  /** Stratum that the test speaks for; undefined for the whole fleet. */
  readonly stratum?: string;
  readonly logE: number;
  readonly logThreshold: number;
}
