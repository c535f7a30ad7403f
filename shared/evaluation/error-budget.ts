/**
 * How the gates of one device share alphaDevice: the probability that a healthy release rolls back
 * there. One table, so that nothing can spend what is not counted.
 *
 * Invariant: the shares of all gates sum to 1; a gate that tests more than once, or more than one
 * quantity, splits its own share further and never takes another's. Gates that compare a measured
 * value with a limit and no test between them (load, memory, first install's latency) have no share:
 * a healthy release keeps its limits.
 */

const shares = {
  /** The same file computes the same on this machine. */
  parity: 0.15,
  /** The class's floor, and the floors of its worst class and slice. */
  "metric-floor": 0.15,
  /** Against the committed model, the first look. */
  "paired-metric": 0.2,
  /** Against the committed model, every later look together (an e-process). */
  "paired-repeated": 0.1,
  /** Wall and processor time, over all looks. */
  latency: 0.15,
  /** Energy per inference, over all looks, where a limit is set. */
  energy: 0.05,
  /** Labels of disagreeing live samples, after the commit. */
  "soak-labels": 0.12,
  /** Crashes and hangs in service, after the commit. */
  "soak-crashes": 0.08,
} as const;

export type TestedGate = keyof typeof shares;

export const testedGates = Object.keys(shares) as readonly TestedGate[];

/** Devices that roll a healthy release back by themselves, as a mean, at most. */
export function expectedHealthyRollbacks(devices: number, alphaDevice: number): number {
  return devices * alphaDevice;
}

/** The level of one gate's test. */
export function alphaOf(gate: TestedGate, alphaDevice: number): number {
  return shares[gate] * alphaDevice;
}
