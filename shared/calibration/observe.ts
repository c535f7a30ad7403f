/**
 * Collects statistics of the values that an instrumented model yields for samples; on a device for the
 * device's own data, in the controller for a golden set.
 *
 * Invariants: what one sample yields is held at a time; a value that is no finite number is refused,
 * with the sample it came from.
 */
import { FleetError } from "../errors.ts";
import { ExtremesObserver, HistogramObserver } from "./observers.ts";
import type { ExtremesTable, HistogramTable, ValueRange } from "./statistics.ts";

/** What a run yields, by output name. */
type Observed = ReadonlyMap<string, { readonly data: ArrayLike<unknown> }>;

export interface ObserveOptions {
  /** What each sample yields, in their order, the same ones in each pass. */
  readonly runs: AsyncIterable<Observed>;
  /** Called after each sample with how many were seen. */
  readonly onSample?: ((seen: number) => void) | undefined;
}

/** Smallest, largest and sum of `tensors`, one triple after the other, in one float32 output. */
export interface ExtremesOutput {
  readonly output: string;
  readonly tensors: readonly string[];
}

/** Extremes by tensor. Errors: `calibration-failed` without samples, or when a value is not finite. */
export async function observeExtremes(
  options: ObserveOptions & { readonly outputs: readonly ExtremesOutput[] },
): Promise<ExtremesTable> {
  const observers = options.outputs.flatMap(({ output, tensors }) =>
    tensors.map((tensor, index) => ({
      tensor,
      output,
      at: index * 3,
      observer: new ExtremesObserver(),
    })),
  );
  await forEachSample(options, (observed, sample) => {
    for (const { tensor, output, at, observer } of observers) {
      const values = observed.get(output)!.data as Float32Array;
      const min = values[at]!;
      const max = values[at + 1]!;
      requireFinite(min, max, values[at + 2]!, { tensor, sample });
      observer.observe(min, max);
    }
  });
  return new Map(observers.map(({ tensor, observer }) => [tensor, observer.extremes()!]));
}

/** Histograms by tensor, on the given grids. The run yields each tensor under its name. */
export async function observeHistograms(
  options: ObserveOptions & { readonly grids: ReadonlyMap<string, ValueRange> },
): Promise<HistogramTable> {
  const observers = [...options.grids].map(
    ([tensor, grid]) => [tensor, new HistogramObserver(grid)] as const,
  );
  await forEachSample(options, (observed) => {
    for (const [tensor, observer] of observers) {
      observer.observe(observed.get(tensor)!.data as Float32Array);
    }
  });
  return new Map(observers.map(([tensor, observer]) => [tensor, observer.histogram()]));
}

async function forEachSample(
  { runs, onSample }: ObserveOptions,
  observe: (observed: Observed, sample: number) => void,
): Promise<void> {
  let seen = 0;
  for await (const observed of runs) {
    observe(observed, seen);
    seen++;
    onSample?.(seen);
  }
  if (seen > 0) return;
  throw new FleetError("calibration-failed", "there is no calibration data: add samples");
}

/**
 * onnxruntime's ReduceMin and ReduceMax pass over NaN (1.30, measured), a sum does not. A sum of finite
 * values may overflow to an infinity, which is no fault; it is NaN when a value is, or when infinities
 * of both signs meet, which the extremes show.
 */
function requireFinite(
  min: number,
  max: number,
  sum: number,
  where: { tensor: string; sample: number },
): void {
  if (Number.isFinite(min) && Number.isFinite(max) && !Number.isNaN(sum)) return;
  const found = [min, max].find((extreme) => !Number.isFinite(extreme)) ?? sum;
  throw new FleetError(
    "calibration-failed",
    `the model yields ${found} at ${where.tensor} for calibration sample ${where.sample}: check the sample, its preparation and the model`,
    { details: where },
  );
}
