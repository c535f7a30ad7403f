/**
 * A simulated rollout as its judges see it: pairs of devices with their accuracy by day, what their own
 * gates said, and who fell silent. The numbers are those of the reference scenario: accuracy 90 %, a
 * day shock of ±2 points that all devices share, a point of noise per device and day, 200 inferences a
 * day.
 */
import { type Random, seededRandom } from "../../../shared/prng.ts";
import { happens, heavyTailed, normal } from "./draws.ts";

export interface FleetOptions {
  readonly pairs: number;
  /** Standard deviation of accuracy between devices. */
  readonly spread: number;
  readonly tails: "normal" | "heavy";
  /** Devices soak for 1 to 7 days instead of 7. */
  readonly unequalSoak: boolean;
  /** Share of devices that fall silent for reasons of their own, in both arms. */
  readonly silence: number;
  /** Share of attempts that fail for reasons of the world. */
  readonly failures: number;
  /** Share of the canaries that lose accuracy, and how much each of them loses; in one stratum, or in all. */
  readonly harm: { readonly share: number; readonly drop: number; readonly stratum?: string };
}

export const healthyFleet: FleetOptions = {
  pairs: 100,
  spread: 0.04,
  tails: "normal",
  unequalSoak: false,
  silence: 0,
  failures: 0.005,
  harm: { share: 0, drop: 0 },
};

export interface SimulatedDevice {
  /** Mean accuracy by day: 7 days before and up to 7 after the release. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly silent: boolean;
  readonly trial: "passed" | "rolled-back" | "failed";
}

export interface SimulatedPair {
  readonly stratum: string;
  readonly canary: SimulatedDevice;
  readonly control: SimulatedDevice;
}

export const days = 7;
export const inferencesPerDay = 200;
export const strata = ["eu/camera", "eu/meter", "us/camera", "us/meter"] as const;

const accuracy = 0.9;
const dayShock = 0.02;
const dayNoise = 0.01;
/** What a healthy device's own gates spend. */
const alphaDevice = 0.001;

export function simulateFleet(options: FleetOptions, seed: number): SimulatedPair[] {
  const random = seededRandom(seed);
  const phase = random.nextFloat() * 2 * Math.PI;
  const { harm } = options;
  return Array.from({ length: options.pairs }, (_, at) => {
    const stratum = strata[at % strata.length]!;
    const isHere = harm.stratum === undefined || harm.stratum === stratum;
    return {
      stratum,
      canary: device(random, options, { phase, harmed: happens(random, harm.share) && isHere }),
      control: device(random, options, { phase, harmed: false }),
    };
  });
}

function device(
  random: Random,
  options: FleetOptions,
  { phase, harmed }: { phase: number; harmed: boolean },
): SimulatedDevice {
  const noise = options.tails === "heavy" ? heavyTailed : normal;
  const own = accuracy + options.spread * noise(random);
  const mean = (day: number, drop: number) => {
    const p = own + dayShock * Math.sin(phase + day) - drop + dayNoise * noise(random);
    const share = Math.min(1, Math.max(0, p));
    const sampling = Math.sqrt((share * (1 - share)) / inferencesPerDay) * normal(random);
    return Math.min(1, Math.max(0, share + sampling));
  };
  const soak = options.unequalSoak ? 1 + random.nextInt(days) : days;
  const drop = harmed ? options.harm.drop : 0;
  const failed = happens(random, options.failures);
  return {
    before: Array.from({ length: days }, (_, day) => mean(day - days, 0)),
    after: Array.from({ length: soak }, (_, day) => mean(day, drop)),
    silent: happens(random, options.silence),
    trial: failed ? "failed" : happens(random, alphaDevice) ? "rolled-back" : "passed",
  };
}

export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Difference in differences: by how much the canary fell behind its control. */
export function dropOf({ canary, control }: SimulatedPair): number {
  const change = ({ before, after }: SimulatedDevice) => meanOf(after) - meanOf(before);
  return Math.min(1, Math.max(-1, change(control) - change(canary)));
}
