/**
 * Real bad and good releases to three agents and a controller: 8 points fewer, twice the latency, more
 * memory than the class allows and a hang at the thousandth input have to end in the canary with the
 * right reason; a good release with the ordinary noise of another training must not be taken back.
 */
import { rmSync } from "node:fs";
import { decodeModel, encodeModel } from "../../../controller/onnx/proto.ts";
import { startRollout, waitForServing } from "../../demo/operator.ts";
import { digitsModel, fleetPool, startDigitsFleet } from "../../fleet/digits-fleet.ts";
import type { LocalFleet } from "../../fleet/local-fleet.ts";
import { type Release, tryRelease } from "../../fleet/release-try.ts";
import { accuracyOf, predictDigits } from "../../models/digits/evaluate.ts";
import { readDigitModel } from "../../models/digits/record.ts";
import { misbehaving, twiceTheWork } from "../../models/misbehaviour.ts";
import { eightPoints, weakened } from "../../models/weakened.ts";
import { atLeast, atMost, type Outcome, type Row } from "../frame.ts";

const tries = Number(process.env["FLEETFIT_RELEASE_TRIES"] ?? 20);
/** A bad release is watched longer than two hangs of ten seconds take. */
const longSoakMs = 120_000;
const shortSoakMs = 5_000;

/** Three times this are allowed in service; the runner takes about 150 MB on the digits. */
const ramPeakBytesMax = 300_000_000;
const tooManyBytes = 2_000_000_000;
const pointsLostSpreadMax = 0.7;

/** One class, with a memory budget. */
const classes = `
classes:
  - name: gateway
    summary: every device
    match: {}
    budget: { metricFloor: 0.8, ramPeakBytesMax: ${ramPeakBytesMax} }
    recipes: [fp32-clean]
    objective: latency
`;

interface Kind {
  readonly name: string;
  /** Versions in turn. */
  readonly versions: readonly string[];
  readonly soakMs: number;
  readonly stoppedBy: string | null;
}

const kinds: readonly Kind[] = [
  { name: "8 points fewer", versions: ["weak"], soakMs: shortSoakMs, stoppedBy: "paired-metric" },
  { name: "twice the latency", versions: ["slow"], soakMs: shortSoakMs, stoppedBy: "latency" },
  { name: "over memory", versions: ["memory"], soakMs: longSoakMs, stoppedBy: "soak-crashes" },
  { name: "hangs at an input", versions: ["hang"], soakMs: longSoakMs, stoppedBy: "soak-crashes" },
  { name: "good", versions: ["1", "2"], soakMs: shortSoakMs, stoppedBy: null },
];

/** `FLEETFIT_RELEASE_KINDS=hangs,good` runs those whose names begin so. */
const begins = process.env["FLEETFIT_RELEASE_KINDS"]?.split(",");
const wanted = kinds.filter(
  ({ name }) => begins === undefined || begins.some((start) => name.startsWith(start)),
);

export async function runReleases(say: (line: string) => void): Promise<Outcome> {
  const goodBytes = readDigitModel(2);
  const good = decodeModel(goodBytes);
  const weak = weakened(goodBytes, eightPoints);
  const on = "the marked input";
  const fleet = await startDigitsFleet(["fp32-clean"], {
    versions: ["1", "2"],
    others: {
      weak,
      slow: encodeModel(twiceTheWork(good)),
      memory: encodeModel(misbehaving(good, { does: "fill-memory", on, bytes: tooManyBytes })),
      hang: encodeModel(misbehaving(good, { does: "hang", on })),
    },
    classes,
  });
  try {
    await startRollout(fleet.api(), digitsModel, "2", [{ name: "fleet", select: { by: "all" } }]);
    await waitForServing(fleet, digitsModel, "2");
    const pointsLost = { weak: await pointsBetween(goodBytes, weak) };
    const rows: Row[] = [];
    for (const kind of wanted) rows.push(...(await tryKind(fleet, kind, { pointsLost, say })));
    return {
      rows,
      bars: [
        atMost("points lost: distance from 8", Math.abs(pointsLost.weak - 8), pointsLostSpreadMax),
        ...wanted.map(({ name, stoppedBy }) =>
          atLeast(
            stoppedBy === null ? `${name}: not taken back` : `${name}: stopped in the canary`,
            rows.filter((row) => row["kind"] === name && row["faults"] === "").length,
            tries,
          ),
        ),
      ],
    };
  } finally {
    await fleet.stop();
    rmSync(fleet.folder, { recursive: true, force: true });
  }
}

/** Points of top-1 on the fleet's golden pool that `next` lost, in hundredths of all images. */
async function pointsBetween(before: Uint8Array, next: Uint8Array): Promise<number> {
  const pool = fleetPool();
  const accuracy = async (bytes: Uint8Array) =>
    accuracyOf(await predictDigits(bytes, pool), pool.labels);
  return Number((100 * ((await accuracy(before)) - (await accuracy(next)))).toFixed(2));
}

async function tryKind(
  fleet: LocalFleet,
  { name, versions, soakMs, stoppedBy }: Kind,
  {
    pointsLost,
    say,
  }: { pointsLost: Readonly<Record<string, number>>; say: (line: string) => void },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let at = 0; at < tries; at++) {
    const version = versions[at % versions.length] ?? "";
    const release: Release = { model: digitsModel, version, soakMs, stoppedBy };
    const { status, why, tookMs, faults } = await tryRelease(fleet, release);
    say(`${name} ${at + 1}: ${status} after ${Math.round(tookMs)} ms, ${faults.join("; ") || why}`);
    rows.push({
      kind: name,
      version,
      pointsLost: pointsLost[version] ?? null,
      status,
      tookMs: Math.round(tookMs),
      why,
      faults: faults.join("; "),
    });
  }
  return rows;
}
