/**
 * Runs a model on samples: in this process and, meanwhile, in those that have it loaded beside.
 *
 * Each other process is kept busy with a batch or two; what they have no time for runs here. A batch that
 * fails, wherever it ran, runs here again sample by sample, where its fault is told as that of a sample.
 *
 * Invariants: results come in the order of the samples, however they were spread, so that whatever is
 * collected from them is the same to the last bit; what is under way is bounded.
 */
import { FleetError, isFleetError } from "../../../shared/errors.ts";
import { release } from "../../../shared/inference/processing/typed-data.ts";
import type { Batches, Feeds, Outputs } from "../execute.ts";

/** Runs samples; resolves with the outputs of each in their order. */
export type RunsSamples = (samples: readonly Feeds[]) => Promise<readonly Outputs[]>;

export interface RunSamplesOptions {
  readonly samples: Batches;
  /** Samples that run at once, at most. */
  readonly batchSamples: number;
  /** Throws for a sample that does not fit. */
  readonly check: (feeds: Feeds, sample: number) => void;
  readonly here: RunsSamples;
  /** The same model in other processes, which take part as soon as it is loaded there. */
  readonly beside: readonly Promise<RunsSamples>[];
  readonly signal?: AbortSignal | undefined;
}

interface Sample {
  readonly feeds: Feeds;
  readonly index: number;
}

/** Consecutive samples that run in one process. */
interface Batch {
  readonly samples: readonly Sample[];
  readonly results: Promise<readonly Outputs[]>;
  readonly isHere: boolean;
  isDone: boolean;
}

interface Other {
  readonly run: RunsSamples;
  /** What it has to do. */
  batches: number;
}

/** What samples of one batch may take together, which are in memory twice. */
const batchBytes = 2 ** 20;
/** Batches that another process has, so that it need not wait for this one between two. */
const otherBatchesMax = 2;
/** Batches that are held, most of them done, behind one that is not. */
const batchesMax = 16;

/**
 * What each sample feeds and yields. What was yielded is given back when the next one is asked for:
 * activations are by far the largest part of memory. Throws what `check` and the signal throw, and
 * `calibration-failed` with the sample that the model does not run on.
 */
export async function* runSamples(options: RunSamplesOptions): AsyncGenerator<Outputs> {
  const others = othersOf(options.beside);
  const batches: Batch[] = [];
  let open: Sample[] = [];
  let index = 0;
  for await (const feeds of options.samples) {
    options.signal?.throwIfAborted();
    open.push({ feeds, index: index++ });
    if (!isFull(open, options.batchSamples)) continue;
    const other = others.find(({ batches }) => batches < otherBatchesMax);
    const batch = started(open, other, options);
    batches.push(batch);
    open = [];
    if (batch.isHere) await batch.results.catch(() => {});
    while (batches[0]?.isDone || batches.length > batchesMax) yield* handedOut(batches.shift()!);
  }
  if (open.length > 0) batches.push(started(open, undefined, options));
  for (const batch of batches) yield* handedOut(batch);
}

/** Grows while models are loaded; one that cannot be loaded elsewhere is left to this process. */
function othersOf(beside: readonly Promise<RunsSamples>[]): readonly Other[] {
  const others: Other[] = [];
  for (const loading of beside) {
    loading.then(
      (run) => others.push({ run, batches: 0 }),
      () => {},
    );
  }
  return others;
}

function isFull(samples: readonly Sample[], samplesMax: number): boolean {
  if (samples.length >= samplesMax) return true;
  const sizes = samples.flatMap(({ feeds }) =>
    [...feeds.values()].map(({ data }) => data.byteLength),
  );
  return sizes.reduce((sum, size) => sum + size, 0) >= batchBytes;
}

function started(
  samples: readonly Sample[],
  other: Other | undefined,
  options: RunSamplesOptions,
): Batch {
  const isHere = other === undefined;
  const results = isHere ? runHere(samples, options) : runThere(samples, other, options);
  const batch: Batch = { samples, results, isHere, isDone: false };
  const done = () => {
    batch.isDone = true;
  };
  // A failure is told when it is this batch's turn.
  results.then(done, done);
  return batch;
}

async function runThere(
  samples: readonly Sample[],
  other: Other,
  options: RunSamplesOptions,
): Promise<readonly Outputs[]> {
  other.batches++;
  try {
    const results = await other.run(checked(samples, options));
    other.batches--;
    return results;
  } catch {
    // It keeps what it failed at, and so gets no more when it fails again.
    return runHere(samples, options);
  }
}

async function runHere(
  samples: readonly Sample[],
  options: RunSamplesOptions,
): Promise<readonly Outputs[]> {
  const feeds = checked(samples, options);
  try {
    return await options.here(feeds);
  } catch (cause) {
    if (samples.length === 1) throw runFailure(samples[0]!.index, cause);
  }
  const results: Outputs[] = [];
  for (const sample of samples) results.push(...(await runHere([sample], options)));
  return results;
}

function checked(samples: readonly Sample[], { check }: RunSamplesOptions): readonly Feeds[] {
  for (const { feeds, index } of samples) check(feeds, index);
  return samples.map(({ feeds }) => feeds);
}

async function* handedOut({ samples, results, isHere }: Batch): AsyncGenerator<Outputs> {
  for (const [at, outputs] of (await results).entries()) {
    yield new Map([...samples[at]!.feeds, ...outputs]);
    // What another process sent may lie in one buffer with the rest of its message.
    if (isHere) for (const { data } of outputs.values()) release(data);
  }
}

function runFailure(sample: number, cause: unknown): unknown {
  if (isFleetError(cause)) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new FleetError(
    "calibration-failed",
    `the model does not run on calibration sample ${sample} (${why}): check the sample and the model`,
    { details: { sample }, cause },
  );
}
