/**
 * What a compression came to, for people and programs: every recipe with its size, accuracy, speed and
 * memory against the source, how much of it runs in integers, and which one the class gets.
 *
 * Invariant: a figure that was not measured is null, never a guess; times that a cost table foretells stand
 * apart from them.
 */
import type { Evaluation, Journal } from "../../shared/api/evaluation.ts";
import { mcnemarExact } from "../../shared/statistics/binomial.ts";
import type { ForetoldTime } from "../compress/cost/foretell.ts";
import type { Reason } from "../plan/choose.ts";

type Score = Evaluation["sealed"];

export interface VariantReport {
  readonly recipe: string;
  readonly status: "ready" | "not-applicable" | "failed";
  /** Why there is no file; null when there is one. */
  readonly reason: string | null;
  readonly figures: VariantFigures | null;
  /** On the device whose cost table was given; null without one, and where the shapes are not known. */
  readonly foretoldTime: ForetoldTime | null;
}

export interface VariantFigures {
  readonly bytes: number;
  /** How many times smaller than the source. */
  readonly timesSmaller: number;
  readonly sha256: string;
  /** On sealed samples, which nothing was tuned on. */
  readonly sealed: Score;
  readonly selection: Score;
  /** Against the source on the selection part: samples that got worse and better, exact McNemar p. */
  readonly paired: { readonly worse: number; readonly better: number; readonly p: number };
  readonly latency: LatencyFigures | null;
  readonly ramPeakBytes: number;
  readonly fusion: Evaluation["fusion"];
  /** Accuracy on processors that are not here; empty for variants without integer layers. */
  readonly foretold: Evaluation["foretold"];
  /** What each pass did, sensitivities of layers included. */
  readonly journal: Journal;
}

export interface LatencyFigures {
  readonly p50Ms: number;
  readonly sourceP50Ms: number;
  /** Processor time of the variant over that of the source, one thread, in turns. */
  readonly cpuRatio: number;
  readonly stolenFraction: number;
}

export interface CompressionReport {
  readonly schema: "fleetfit/compression-report/1";
  readonly source: {
    readonly name: string;
    readonly sha256: string;
    readonly bytes: number;
    /** On the selection part; null when no recipe was made. */
    readonly selection: Score | null;
  };
  readonly golden: {
    readonly name: string;
    readonly metric: string;
    readonly samples: number;
    readonly poolSha256: string;
    readonly seed: number;
  };
  readonly machine: { readonly runtime: string; readonly cpuFlags: readonly string[] };
  readonly deviceClass: string;
  /** Whose cost table times were foretold from; null without one. */
  readonly foretoldOn: {
    readonly device: string;
    readonly emulated: boolean;
    readonly degraded: boolean;
  } | null;
  readonly variants: readonly VariantReport[];
  readonly choice: { readonly recipe: string | null; readonly reasons: readonly Reason[] };
}

/** Layers that run in int8 of those that were meant to; of variants without such a plan, of all. */
export function int8Text(fusion: Evaluation["fusion"]): string {
  if (fusion === null) return "";
  const { integerNodes, floatNodes, plannedLayers, fellBack } = fusion;
  return plannedLayers > 0
    ? `${plannedLayers - fellBack.length} of ${plannedLayers}`
    : `${integerNodes} of ${integerNodes + floatNodes}`;
}

/** What a foretold time rests on, in one sentence; empty without one. */
export function foretoldTimesText({ foretoldOn }: CompressionReport): string {
  if (foretoldOn === null) return "";
  const { device, emulated, degraded } = foretoldOn;
  const marks = [
    emulated ? ", an emulated device: of the machine that imitates it" : "",
    degraded ? "; the machine was busy, so they are too long" : "",
  ];
  return `Times "foretold" are added up from operators that were timed on ${device}${marks.join("")}; nothing ran there.`;
}

/** Time of the operators that the table covers, and how many it does not. */
export function foretoldTimeText({ foretoldTime }: VariantReport): string {
  if (foretoldTime === null) return "";
  const { timeMs, notCovered } = foretoldTime;
  const rest = notCovered.length === 0 ? "" : ` without ${notCovered.join(", ")}`;
  return `${timeMs.toFixed(3)} ms${rest}`;
}

export function figuresOf(
  source: { readonly bytes: number },
  file: { readonly bytes: number; readonly sha256: string },
  evaluation: Evaluation,
  latency: LatencyFigures | null,
): VariantFigures {
  const { worse, better, sealed, selection, ramPeakBytes, fusion, foretold, journal } = evaluation;
  return {
    ...file,
    timesSmaller: source.bytes / file.bytes,
    sealed,
    selection,
    paired: { worse, better, p: mcnemarExact(worse, better) },
    latency,
    ramPeakBytes,
    fusion,
    foretold,
    journal,
  };
}
