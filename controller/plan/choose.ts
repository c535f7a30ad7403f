/**
 * The choice of one variant for one class, purely, by what was measured: first what the budget and the
 * floor allow, then the class's objective. Every loser is told why it lost, with the numbers.
 *
 * Invariant: nothing is chosen that was not measured on a device of the class.
 */
import { parityGate } from "../../shared/evaluation/gates.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import {
  type AccuracyFigures,
  accuracyFault,
  type ForetoldFigures,
  foretoldFault,
  percent,
} from "./accuracy.ts";

/** `metric` is of sealed samples, `worse` and `better` of the selection part, both at the controller. */
export interface MeasuredVariant extends AccuracyFigures {
  readonly recipe: string;
  readonly bundleSha256: string | null;
  readonly status: string;
  readonly reason: string | null;
  readonly modelBytes: number | null;
  /** For processors of the class that no device of it measured the variant on. */
  readonly foretold: readonly ForetoldFigures[];
  /** Facts from a device of the class; null when none measured it. */
  readonly measured: MeasuredFacts | null;
  /** Why the newest try of a device came to nothing; null when there was none. */
  readonly measurementFailure: string | null;
}

/** What one device found out in one measurement; null where it has no such fact. */
export interface MeasuredFacts {
  readonly device: string;
  readonly latencyP50Ms: number;
  /** Between which the latency lies; both are the latency itself where no interval was reported. */
  readonly latencyIntervalMs: readonly [number, number];
  readonly ramPeakBytes: number | null;
  /** On the device's own shard: the same file may compute something else on another CPU. */
  readonly metric: { readonly value: number; readonly high: number; readonly n: number } | null;
  /** Answers of its shard that differ from the controller's for the same file. */
  readonly parity: { readonly flips: number; readonly n: number } | null;
  readonly degraded: boolean;
  readonly emulated: boolean;
}

/** The rule by which a device's trial judges parity: what it would refuse is not chosen. */
export interface ParityRule {
  readonly flipFractionMax: number;
  readonly alpha: number;
}

export interface Reason {
  readonly recipe: string;
  readonly won: boolean;
  readonly why: string;
}

export interface Choice {
  readonly winner: MeasuredVariant | undefined;
  readonly emulated: boolean;
  readonly reasons: readonly Reason[];
}

/**
 * Latencies closer than this count as equal: the trial on a device accepts the same ratio, so a choice
 * inside it must not rest on noise.
 */
const latencyTieRatio = 1.1;

/**
 * `inUse` is the recipe that devices of the class run now. By latency it is left only for one that is
 * faster beyond the tie and beyond what their intervals leave open: another recipe of nearly the same
 * speed may be a little slower on the next device, and be taken back there.
 */
export function choose(
  deviceClass: DeviceClass,
  variants: readonly MeasuredVariant[],
  { parity, inUse }: { parity: ParityRule; inUse?: string | undefined },
): Choice {
  const refusals = variants.map((variant) => ({
    variant,
    why:
      refusal(deviceClass, variant) ??
      foretoldFault(deviceClass.budget, variant.foretold) ??
      refusalOnDevice(deviceClass, variant, parity),
  }));
  const fitting = refusals.filter(({ why }) => why === undefined).map(({ variant }) => variant);
  const winner = best(deviceClass, fitting, inUse);
  const emulated = winner?.measured?.emulated === true;
  const reasons = refusals.map(({ variant, why }) => ({
    recipe: variant.recipe,
    won: variant === winner,
    why:
      why ??
      (variant === winner ? won(deviceClass, variant, inUse) : lost(deviceClass, variant, winner)),
  }));
  return { winner, emulated, reasons };
}

/** Why a variant cannot be chosen, by what the controller knows of it. */
function refusal(deviceClass: DeviceClass, variant: MeasuredVariant): string | undefined {
  const { budget } = deviceClass;
  const bytes = variant.modelBytes ?? 0;
  if (!deviceClass.recipes.includes(variant.recipe)) return "the class does not list this recipe";
  if (variant.status !== "ready")
    return `${variant.status}: ${variant.reason ?? "no reason was given"}`;
  if (budget.modelBytesMax !== undefined && bytes > budget.modelBytesMax) {
    return `its file of ${bytes} bytes is over the class's ${budget.modelBytesMax}`;
  }
  return accuracyFault(budget, variant);
}

/** Why a variant cannot be chosen, by what a device of the class measured. */
function refusalOnDevice(
  { budget }: DeviceClass,
  { measured, measurementFailure }: MeasuredVariant,
  rule: ParityRule,
): string | undefined {
  if (measured === null) {
    return measurementFailure === null
      ? "no device of the class measured it"
      : `no device of the class could measure it: ${measurementFailure}`;
  }
  const { device, latencyP50Ms, ramPeakBytes, metric, parity } = measured;
  if (metric !== null && metric.high < budget.metricFloor) {
    return `its accuracy of ${percent(metric.value)} on ${device} (${metric.n} samples) is below the class's floor of ${percent(budget.metricFloor)}`;
  }
  if (parity !== null && parityGate({ ...parity, ...rule }).verdict === "fail") {
    return `${device} computes something else with the same file: ${parity.flips} of ${parity.n} answers differ from the controller's`;
  }
  if (budget.latencyMsMax !== undefined && latencyP50Ms > budget.latencyMsMax) {
    return `its p50 of ${latencyP50Ms.toFixed(3)} ms is over the class's ${budget.latencyMsMax} ms${whenMeasured(measured)}`;
  }
  if (budget.ramPeakBytesMax === undefined) return undefined;
  if (ramPeakBytes === null) return `${device} did not measure its memory, which the class limits`;
  if (ramPeakBytes > budget.ramPeakBytesMax) {
    return `its peak memory of ${ramPeakBytes} bytes is over the class's ${budget.ramPeakBytesMax}`;
  }
  return undefined;
}

function best(
  deviceClass: DeviceClass,
  fitting: readonly MeasuredVariant[],
  inUse: string | undefined,
): MeasuredVariant | undefined {
  const bySize = (a: MeasuredVariant, b: MeasuredVariant) =>
    (a.modelBytes ?? 0) - (b.modelBytes ?? 0) ||
    metricOf(b) - metricOf(a) ||
    (a.recipe < b.recipe ? -1 : 1);
  switch (deviceClass.objective) {
    case "size":
      return [...fitting].sort(bySize)[0];
    case "accuracy":
      return [...fitting].sort((a, b) => metricOf(b) - metricOf(a) || bySize(a, b))[0];
    case "latency": {
      const steady = fitting.filter(({ measured }) => measured?.degraded === false);
      const candidates = steady.length > 0 ? steady : fitting;
      const fastest = Math.min(...candidates.map(latencyOf));
      const equal = candidates.filter((variant) => latencyOf(variant) <= fastest * latencyTieRatio);
      return keptInUse(fitting, inUse) ?? equal.sort(bySize)[0];
    }
  }
}

/** The variant of the recipe in use, unless another one is clearly faster; a busy machine tells nothing. */
function keptInUse(
  fitting: readonly MeasuredVariant[],
  inUse: string | undefined,
): MeasuredVariant | undefined {
  const kept = fitting.find(({ recipe }) => recipe === inUse);
  if (kept?.measured?.degraded !== false) return kept;
  const [low] = kept.measured.latencyIntervalMs;
  const isLeft = fitting.some(
    ({ measured }) => measured !== null && measured.latencyIntervalMs[1] * latencyTieRatio < low,
  );
  return isLeft ? undefined : kept;
}

function won(
  deviceClass: DeviceClass,
  variant: MeasuredVariant,
  inUse: string | undefined,
): string {
  const facts = `${variant.modelBytes} bytes, ${percent(metricOf(variant))}, p50 ${latencyOf(variant).toFixed(3)} ms`;
  const ties =
    variant.recipe === inUse
      ? "; the class runs this recipe, and no other one is faster by more than 10 % beyond doubt"
      : "; latencies within 10 % count as equal, then the smaller file wins";
  const tie = deviceClass.objective === "latency" ? ties : "";
  return `best by ${deviceClass.objective}: ${facts}${tie}${whenMeasured(variant.measured)}${whereMeasured(variant)}`;
}

function lost(
  deviceClass: DeviceClass,
  variant: MeasuredVariant,
  winner: MeasuredVariant | undefined,
): string {
  if (winner === undefined) return "nothing was chosen";
  const against = `${winner.recipe} has`;
  switch (deviceClass.objective) {
    case "size":
      return `its file of ${variant.modelBytes} bytes is not the smallest: ${against} ${winner.modelBytes}`;
    case "accuracy":
      return `its accuracy of ${percent(metricOf(variant))} is not the best: ${against} ${percent(metricOf(winner))}`;
    case "latency":
      return `its p50 of ${latencyOf(variant).toFixed(3)} ms with ${variant.modelBytes} bytes: ${against} ${latencyOf(winner).toFixed(3)} ms with ${winner.modelBytes}${whenMeasured(variant.measured)}`;
  }
}

function whenMeasured(measured: MeasuredFacts | null): string {
  return measured?.degraded === true
    ? "; the machine was busy while it was measured, so its latency is uncertain"
    : "";
}

function whereMeasured(variant: MeasuredVariant): string {
  return variant.measured?.emulated === true
    ? "; measured on an emulated device: a fact about the machine it runs on, never about that hardware"
    : "";
}

const metricOf = (variant: MeasuredVariant) => variant.metric?.value ?? 0;
const latencyOf = (variant: MeasuredVariant) =>
  variant.measured?.latencyP50Ms ?? Number.POSITIVE_INFINITY;
