/**
 * One subject's contest: both sides make their files, pick on one half of the labelled samples, and are
 * compared on the other.
 *
 * Per scheme each side sends the file with the most right answers. Beside that we send one choice: the
 * fastest of our files whose accuracy is that of our best and which is not slower than the source
 * (`choice.ts`).
 */
import { mcnemarExact } from "../../../shared/statistics/binomial.ts";
import { tangoUpperBound } from "../../../shared/statistics/tango.ts";
import type { Row } from "../frame.ts";
import { chosenOf, finalists, finalistsOf, isAsAccurate } from "./choice.ts";
import { bestOf, flipsBetween, type Graded, gradeAll, percent } from "./grade.ts";
import { cpuTimesMs } from "./speed.ts";
import { halvesOf, type Subject } from "./subject.ts";
import { type Scheme, schemes, type Variant } from "./variant.ts";

/** One pair that met on the compared half. */
export interface Duel {
  readonly model: string;
  readonly what: Scheme | "choice";
  readonly n: number;
  readonly source: number;
  readonly ours: number;
  readonly theirs: number;
  /** One-sided p-value of "ours is worse". */
  readonly p: number;
  /** Upper 95 % bound of our deficit, in points. */
  readonly deficitMax: number;
  readonly names: string;
  /** The same percentages within each slice, of the choice alone. */
  readonly slices: readonly SliceResult[];
}

interface SliceResult {
  readonly name: string;
  readonly n: number;
  readonly source: number;
  readonly ours: number;
  readonly theirs: number;
}

export interface SpeedResult {
  readonly model: string;
  readonly sourceMs: number;
  readonly oursMs: number;
  /** Of their fastest file of the same accuracy; NaN when there is none. */
  readonly theirsMs: number;
  readonly names: string;
}

export interface ContestResult {
  readonly duels: readonly Duel[];
  readonly speed: SpeedResult;
  readonly choice: Variant;
  readonly refusals: readonly { readonly recipe: string; readonly reason: string }[];
}

/** A file counts as less accurate when a chance of this or less explains the difference. */
const alpha = 0.05;
const coarseRounds = 8;
const fineRounds = 120;

export async function runContest(
  subject: Subject,
  ours: readonly Variant[],
  theirs: readonly Variant[],
): Promise<ContestResult> {
  const halves = halvesOf(subject.labelled.count);
  const source: Variant = { name: "source", scheme: "fp32", bytes: subject.modelBytes };
  const [picked, ourGrades, theirGrades] = [
    await gradeAll(subject, [source], halves.pick),
    await gradeAll(subject, ours, halves.pick),
    await gradeAll(subject, theirs, halves.pick),
  ];
  const sourceGrade = picked.graded[0];
  if (sourceGrade === undefined) throw new Error(`${subject.name}: the source does not run`);
  const choice = await choose(subject, source, ourGrades.graded);
  const speed = await raceAll(subject, { source, choice, theirs: theirGrades.graded });
  const pairs = pairsOf(choice, ourGrades.graded, theirGrades.graded);
  const duels: Duel[] = [];
  for (const { what, mine, rival } of pairs) {
    const files = [source, mine.variant, rival.variant];
    const { graded } = await gradeAll(subject, files, halves.compare);
    const [reference, our, their] = graded as [Graded, Graded, Graded];
    const { worse, better } = flipsBetween(our, their);
    const n = our.right.length;
    duels.push({
      model: subject.name,
      what,
      n,
      source: percent(reference),
      ours: percent(our),
      theirs: percent(their),
      p: mcnemarExact(worse, better),
      deficitMax: 100 * tangoUpperBound(worse, better, n, alpha),
      names: `${mine.variant.name} / ${rival.variant.name}`,
      slices: what === "choice" ? slicesOf(subject, halves.compare, [reference, our, their]) : [],
    });
  }
  const refusals = [...ourGrades.refusals, ...theirGrades.refusals];
  return { duels, speed, choice: choice.variant, refusals };
}

function pairsOf(choice: Graded, ours: readonly Graded[], theirs: readonly Graded[]) {
  const overall = bestOf(theirs);
  const all = [{ what: "choice" as const, mine: choice, rival: overall }];
  const perScheme = schemes.map((scheme) => ({
    what: scheme,
    mine: bestOf(ours.filter(({ variant }) => variant.scheme === scheme)),
    rival: bestOf(theirs.filter(({ variant }) => variant.scheme === scheme)),
  }));
  return [...all, ...perScheme].flatMap(({ what, mine, rival }) =>
    mine === undefined || rival === undefined ? [] : [{ what, mine, rival }],
  );
}

/** Our one choice, by accuracy and then by time, as the pick half and this processor tell. */
async function choose(subject: Subject, source: Variant, ours: readonly Graded[]): Promise<Graded> {
  const best = bestOf(ours);
  if (best === undefined) throw new Error(`${subject.name}: no candidate of ours runs`);
  const floats = ours.filter(({ variant }) => variant.scheme === "fp32");
  const equals = ours.filter((each) => !floats.includes(each) && isAsAccurate(each, best));
  const filesOf = (graded: readonly Graded[]) => [source, ...graded.map(({ variant }) => variant)];
  const coarse = await cpuTimesMs(new Map(filesOf(equals).map(fileOf)), subject, coarseRounds);
  const entrants = finalistsOf(equals, ({ variant }) => coarse.get(variant.name)!);
  const last = [...entrants, ...floats];
  const timesMs = await cpuTimesMs(new Map(filesOf(last).map(fileOf)), subject, fineRounds);
  const timeOf = ({ variant }: Graded): number => timesMs.get(variant.name)!;
  const quick = entrants.filter((each) => timeOf(each) <= timesMs.get(source.name)!);
  // No choice is slower than the source: our float32 files are always there to be chosen.
  const fast = quick.length > 0 ? quick : floats;
  return chosenOf(fast, timeOf);
}

/** Our choice against the source and against their fastest file that is not less accurate. */
async function raceAll(
  subject: Subject,
  entrants: { source: Variant; choice: Graded; theirs: readonly Graded[] },
): Promise<SpeedResult> {
  const { source, choice } = entrants;
  const equals = entrants.theirs.filter((their) => {
    const { worse, better } = flipsBetween(their, choice);
    return mcnemarExact(worse, better) > alpha;
  });
  const coarse = await cpuTimesMs(
    new Map(equals.map(({ variant }) => fileOf(variant))),
    subject,
    coarseRounds,
  );
  const fastest = [...coarse].toSorted((a, b) => a[1] - b[1]).slice(0, finalists);
  const files = [
    source,
    choice.variant,
    ...equals.map(({ variant }) => variant).filter(({ name }) => fastest.some(([n]) => n === name)),
  ];
  const timesMs = await cpuTimesMs(new Map(files.map(fileOf)), subject, fineRounds);
  const [first] = [...timesMs]
    .filter(([name]) => fastest.some(([their]) => their === name))
    .toSorted((a, b) => a[1] - b[1]);
  return {
    model: subject.name,
    sourceMs: timesMs.get(source.name)!,
    oursMs: timesMs.get(choice.variant.name)!,
    theirsMs: first?.[1] ?? Number.NaN,
    names: `${choice.variant.name} / ${first?.[0] ?? "none"}`,
  };
}

function fileOf({ name, bytes }: Variant): [string, Uint8Array] {
  return [name, bytes];
}

function slicesOf(
  { slices }: Subject,
  indices: Uint32Array,
  [source, ours, theirs]: readonly [Graded, Graded, Graded],
): SliceResult[] {
  if (slices === undefined) return [];
  return slices.names.map((name, slice) => {
    const places = [...indices.keys()].filter((at) => slices.of[indices[at]!] === slice);
    const within = ({ right }: Graded): number =>
      (100 * places.filter((at) => right[at]).length) / places.length;
    const percents = { source: within(source), ours: within(ours), theirs: within(theirs) };
    return { name, n: places.length, ...percents };
  });
}

/** The row of a pair, and one per slice. */
export function duelRows({ model, what, n, p, deficitMax, names, ...duel }: Duel): Row[] {
  const { source, ours, theirs } = duel;
  const note = `deficit < ${deficitMax.toFixed(2)}; ${names}`;
  const values = { fp32: source, ours, theirs, figure: p };
  return [
    row("accuracy %", model, `${what}, n ${n}`, { ...values, note }),
    ...duel.slices.map((slice) =>
      row("accuracy %", model, `${what}, slice ${slice.name}, n ${slice.n}`, {
        ...{ fp32: slice.source, ours: slice.ours, theirs: slice.theirs, figure: null },
        note: names,
      }),
    ),
  ];
}

export function speedRow({ model, sourceMs, oursMs, theirsMs, names }: SpeedResult): Row {
  return row("CPU ms", model, "choice", {
    fp32: sourceMs,
    ours: oursMs,
    theirs: theirsMs,
    figure: oursMs / theirsMs,
    note: names,
  });
}

/** The columns that all parts of the benchmark share. */
export function row(
  part: string,
  model: string,
  what: string,
  values: Readonly<Record<"fp32" | "ours" | "theirs" | "figure", number | null>> & {
    readonly note: string;
  },
): Row {
  return { part, model, what, ...values };
}
