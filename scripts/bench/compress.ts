/**
 * Compression against the quantizers that exist, on the same files, samples and processor: accuracy, speed,
 * size, time to compress and parity. The parts are in `compress/`, the rivals' drivers in `peers/`.
 *
 * FLEETFIT_BENCH_MODELS (names, comma between) runs some of the models only. A run that is cut off goes on with
 * the models that it had not done, and a whole run takes those that were run by themselves before; without
 * `.cache/bench-compress/findings` all are run anew.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { publishedAccuracy } from "./compress/answer.ts";
import { ourVariants } from "./compress/candidates.ts";
import { commandRows, timeCommands } from "./compress/commands.ts";
import {
  type Duel,
  duelRows,
  row,
  runContest,
  type SpeedResult,
  speedRow,
} from "./compress/contest.ts";
import { type Findings, joined, keptFindings, nothingFound } from "./compress/findings.ts";
import { holmRejections } from "./compress/grade.ts";
import { compareMemory, memoryRow } from "./compress/memory.ts";
import { checkFiles, compareScales, parityRow } from "./compress/parity.ts";
import { rivalVariants } from "./compress/rivals.ts";
import { compareSizes, type SizeResult, sizeRow } from "./compress/size.ts";
import type { Subject } from "./compress/subject.ts";
import { type SubjectSource, subjectSources } from "./compress/subjects/registry.ts";
import { compareTimes, timeRow } from "./compress/time.ts";
import { atLeast, atMost, type Bar, type Benchmark, type Outcome, type Row } from "./frame.ts";
import { processorsBenchmark } from "./processors.ts";

export const compressBenchmark: Benchmark = {
  name: "compress",
  summary:
    "int8, int4 and float16 files: ours against onnxruntime's quantizer, NNCF and Neural Compressor",
  async run(say): Promise<Outcome> {
    const kept = keptFindings();
    const folder = mkdtempSync(path.join(tmpdir(), "fleetfit-compress-"));
    const parts: Findings[] = [];
    try {
      for (const source of chosenSources()) {
        parts.push(await kept.once(source.name, () => measure(source, folder, say)));
      }
      if (hasModel("resnet8")) {
        parts.push(await kept.once("resnet8-for-all", () => measureResnet8(folder, say)));
      }
      // By the clock on the wall, so of one run, and with nothing else under way.
      for (const source of chosenSources()) parts.push(await measureTime(source, folder, say));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    const findings = joined(parts);
    // A bar of which nothing was measured says nothing: some models only were run.
    const bars = barsOf(findings).filter(({ value }) => Number.isFinite(value));
    const processors = wantsAll() ? await processorsBenchmark.run(say) : { rows: [], bars: [] };
    if (wantsAll()) kept.forget();
    return {
      rows: [...findings.rows, ...processors.rows.map(processorRow)],
      bars: [...bars, ...processors.bars],
    };
  },
};

/** What is measured on one model for all. */
async function measureResnet8(folder: string, say: (line: string) => void): Promise<Findings> {
  const memory = await compareMemory(say);
  const commands = await timeCommands(folder, say);
  return {
    ...nothingFound,
    rows: [memoryRow(memory), ...commandRows(commands)],
    memory: [memory],
    commands: [commands],
  };
}

/** A row of the processors' own benchmark in the columns of this one. */
function processorRow({ model, file, processor, ...values }: Row): Row {
  return row("processor", String(model), `${file} on ${processor}`, {
    fp32: null,
    ours: Number(values["foretold"]),
    theirs: Number(values["measured"]),
    figure: Number(values["wrongNumbers"]),
    note: `percent foretold and measured, wrong numbers; here ${values["here"]}`,
  });
}

function wantsAll(): boolean {
  return process.env["FLEETFIT_BENCH_MODELS"] === undefined;
}

function hasModel(name: string): boolean {
  return chosenSources().some((source) => source.name === name);
}

function chosenSources(): readonly SubjectSource[] {
  const names = process.env["FLEETFIT_BENCH_MODELS"]?.split(",");
  if (names === undefined) return subjectSources;
  const unknown = names.find((name) => !subjectSources.some((source) => source.name === name));
  if (unknown === undefined) return subjectSources.filter(({ name }) => names.includes(name));
  const known = subjectSources.map(({ name }) => name).join(", ");
  throw new Error(`FLEETFIT_BENCH_MODELS names ${unknown}; there are ${known}`);
}

async function measureTime(
  source: SubjectSource,
  parent: string,
  say: (line: string) => void,
): Promise<Findings> {
  const subject = await source.open(say);
  const time = await compareTimes(subject, mkdtempSync(path.join(parent, "time-")), say);
  return { ...nothingFound, rows: [timeRow(time)], times: [time] };
}

async function measure(
  source: SubjectSource,
  parent: string,
  tell: (line: string) => void,
): Promise<Findings> {
  const say = (line: string) => tell(`${source.name}: ${line}`);
  const subject = await source.open(say);
  const folder = mkdtempSync(path.join(parent, "subject-"));
  const published = await checkSource(subject);
  const theirs = await rivalVariants(subject, folder, say);
  say(`${theirs.variants.length} files of the rivals`);
  const ours = await ourVariants(subject);
  say(`${ours.variants.length} files of ours`);
  const contest = await runContest(subject, ours.variants, theirs.variants);
  // A file that the runtime refuses is no small file.
  const refused = new Set(contest.refusals.map(({ recipe }) => recipe));
  const [our, their] = [ours, theirs].map(({ variants }) =>
    variants.filter(({ name }) => !refused.has(name)),
  );
  const sizes = compareSizes(subject, our!, their!);
  const parities = [
    ...(await compareScales(subject, folder, say)),
    await checkFiles(subject, ours.variants, folder, say),
  ];
  rmSync(folder, { recursive: true });
  return {
    ...nothingFound,
    rows: [
      ...published.rows,
      ...contest.duels.flatMap(duelRows),
      speedRow(contest.speed),
      ...sizes.map(sizeRow),
      ...parities.map(parityRow),
      ...refusalRows(source.name, [...theirs.refusals, ...ours.refusals, ...contest.refusals]),
    ],
    duels: contest.duels,
    speeds: [contest.speed],
    sizes,
    parities,
    mismatches: published.mismatches,
  };
}

/** The model and its data are read as they were meant: the published accuracy comes out. */
async function checkSource(subject: Subject): Promise<Pick<Findings, "rows" | "mismatches">> {
  const { name, published } = subject;
  if (published === undefined) return nothingFound;
  const measured = await publishedAccuracy(subject);
  const isMet = measured.toFixed(1) === published.percent.toFixed(1);
  const values = { ours: null, theirs: null, figure: published.percent };
  const note = "the figure is the published one";
  const what = `n ${published.samples.count}`;
  return {
    rows: [row("source %", name, what, { fp32: measured, ...values, note })],
    mismatches: isMet ? [] : [name],
  };
}

/** Recipes that made no file, one row per reason. */
function refusalRows(
  model: string,
  refusals: readonly { recipe: string; reason: string }[],
): Row[] {
  const byReason = Map.groupBy(refusals, ({ reason }) => reason);
  return [...byReason].map(([reason, group]) =>
    row("refused", model, `${group.length} recipes`, {
      ...{ fp32: null, ours: null, theirs: null, figure: null },
      note: `${group.map(({ recipe }) => recipe).join(", ")}: ${reason}`,
    }),
  );
}

function barsOf({
  duels,
  speeds,
  sizes,
  times,
  parities,
  memory,
  commands,
  mismatches,
}: Findings): Bar[] {
  const differences = parities.reduce((sum, { different }) => sum + different.length, 0);
  return [
    atMost("published accuracies that were not met", mismatches.length, 0),
    ...accuracyBars(duels),
    ...speedBars(speeds),
    ...sizeBars(sizes),
    atMost(
      "time to compress / theirs, worst",
      worstOf(times.map(({ oursMs, theirsMs }) => oursMs / theirsMs)),
      0.5,
    ),
    atMost(
      "time to compress / theirs with its preparation, as ours has, worst",
      worstOf(times.map(({ oursMs, theirsPreparedMs }) => oursMs / theirsPreparedMs)),
      0.5,
    ),
    atMost(
      "search over all recipes on ResNet-8, 1,000 golden images, s",
      worstOf(commands.map(({ searchMs }) => searchMs / 1_000)),
      180,
    ),
    atMost(
      "memory of calibrating on 10,000 images / on 100",
      worstOf(memory.map(({ fewBytes, manyBytes }) => manyBytes / fewBytes)),
      1.1,
    ),
    atMost("scales and files that differ from onnxruntime's", differences, 0),
  ];
}

/** The largest of the numbers; what a rival has not is left out. */
function worstOf(values: readonly number[]): number {
  return Math.max(...values.filter(Number.isFinite));
}

const alpha = 0.05;
/** Compared samples from which the bound of the deficit counts. */
const largeCount = 2_000;

function accuracyBars(duels: readonly Duel[]): Bar[] {
  const overall = duels.filter(({ what }) => what === "choice");
  const large = duels.filter(({ n }) => n >= largeCount);
  const dropping = duels.filter(({ source, theirs }) => source - theirs > 1);
  const dropRatios = dropping.map(
    ({ source, ours, theirs }) => (source - ours) / (source - theirs),
  );
  return [
    atMost(
      "models where our choice is less accurate than their best (McNemar, Holm 5 %)",
      holmRejections(
        overall.map(({ p }) => p),
        alpha,
      ),
      0,
    ),
    atMost(
      "pairs of one scheme where ours is less accurate (McNemar, Holm 5 %)",
      holmRejections(
        duels.map(({ p }) => p),
        alpha,
      ),
      0,
    ),
    atMost(
      "worst upper 95 % bound of our deficit where n ≥ 2,000, points",
      Math.max(...large.map(({ deficitMax }) => deficitMax)),
      1,
    ),
    atMost(
      "where theirs drop more than a point: our drop / theirs, worst",
      Math.max(0, ...dropRatios),
      0.5,
    ),
  ];
}

function speedBars(speeds: readonly SpeedResult[]): Bar[] {
  const against = (theirs: (result: SpeedResult) => number): number =>
    worstOf(speeds.map((each) => each.oursMs / theirs(each)));
  return [
    atMost(
      "our choice's CPU time / the source's, worst",
      against(({ sourceMs }) => sourceMs),
      1.05,
    ),
    atMost(
      "our choice's CPU time / their fastest of the same accuracy, worst",
      against(({ theirsMs }) => theirsMs),
      1.05,
    ),
  ];
}

/** Parameters below which a file is mostly names and structure. */
const smallNet = 100_000;
const tinyNet = 8_000;

function sizeBars(sizes: readonly SizeResult[]): Bar[] {
  const static8 = sizes.filter(({ scheme }) => scheme.startsWith("int8"));
  // Of each model its smallest file counts.
  const gain = (picked: readonly SizeResult[]): number => {
    const perModel = [...Map.groupBy(picked, ({ model }) => model).values()];
    const gains = perModel.map((sizes) =>
      Math.max(...sizes.map(({ sourceBytes, oursBytes }) => sourceBytes / oursBytes)),
    );
    return Math.min(...gains);
  };
  const worst = (picked: readonly SizeResult[]): number =>
    worstOf(picked.map(({ oursBytes, theirsBytes }) => oursBytes / theirsBytes));
  const isSmall = ({ parameters }: SizeResult): boolean => parameters < smallNet;
  return [
    atLeast(
      "ResNet-8: times smaller",
      gain(static8.filter(({ model }) => model === "resnet8")),
      3.6,
    ),
    atLeast(
      "nets below 8,000 parameters: times smaller, least",
      gain(static8.filter(({ parameters }) => parameters < tinyNet)),
      2.1,
    ),
    atLeast("GRU: times smaller", gain(sizes.filter(({ model }) => model === "gru")), 3),
    atMost("below 100,000 parameters: bytes / theirs, worst", worst(sizes.filter(isSmall)), 0.9),
    atMost(
      "from 100,000 parameters: bytes / theirs, worst",
      worst(sizes.filter((size) => !isSmall(size))),
      1,
    ),
  ];
}
