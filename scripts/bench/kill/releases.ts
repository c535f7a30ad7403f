/**
 * Real bad and good releases to three agents and a controller: fewer points, twice the latency, more
 * memory than the class allows and a hang at the thousandth input have to end in the canary with the
 * right reason; a good release with the ordinary noise of another training must not be taken back.
 */
import { rmSync } from "node:fs";
import { decodeModel, encodeModel } from "../../../controller/onnx/proto.ts";
import { startRollout, waitForServing } from "../../demo/operator.ts";
import { digitsModel, startDigitsFleet } from "../../fleet/digits-fleet.ts";
import type { LocalFleet } from "../../fleet/local-fleet.ts";
import { type Release, tryRelease } from "../../fleet/release-try.ts";
import { readDigitModel } from "../../models/digits/record.ts";
import { misbehaving, twiceTheWork } from "../../models/misbehaviour.ts";
import { atLeast, type Outcome, type Row } from "../frame.ts";

const tries = Number(process.env["FLEETFIT_RELEASE_TRIES"] ?? 20);
/** A bad release is watched longer than two hangs of ten seconds take. */
const longSoakMs = 120_000;
const shortSoakMs = 5_000;

/** Three times this are allowed in service; the runner takes about 150 MB on the digits. */
const ramPeakBytesMax = 300_000_000;
const tooManyBytes = 2_000_000_000;

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
  { name: "fewer points", versions: ["3"], soakMs: shortSoakMs, stoppedBy: "paired-metric" },
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
  const good = decodeModel(readDigitModel(2));
  const on = "the marked input";
  const fleet = await startDigitsFleet(["fp32-clean"], {
    versions: ["1", "2", "3"],
    others: {
      slow: encodeModel(twiceTheWork(good)),
      memory: encodeModel(misbehaving(good, { does: "fill-memory", on, bytes: tooManyBytes })),
      hang: encodeModel(misbehaving(good, { does: "hang", on })),
    },
    classes,
  });
  try {
    await startRollout(fleet.api(), digitsModel, "2", [{ name: "fleet", select: { by: "all" } }]);
    await waitForServing(fleet, digitsModel, "2");
    const rows: Row[] = [];
    for (const kind of wanted) rows.push(...(await tryKind(fleet, kind, say)));
    return {
      rows,
      bars: wanted.map(({ name, stoppedBy }) =>
        atLeast(
          stoppedBy === null ? `${name}: not taken back` : `${name}: stopped in the canary`,
          rows.filter((row) => row["kind"] === name && row["faults"] === "").length,
          tries,
        ),
      ),
    };
  } finally {
    await fleet.stop();
    rmSync(fleet.folder, { recursive: true, force: true });
  }
}

async function tryKind(
  fleet: LocalFleet,
  { name, versions, soakMs, stoppedBy }: Kind,
  say: (line: string) => void,
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
      status,
      tookMs: Math.round(tookMs),
      why,
      faults: faults.join("; "),
    });
  }
  return rows;
}
