/**
 * Every effect of an update and of an enrolment, disturbed once in every way, the controller's as well,
 * and pairs of cuts: one row per kind of disturbance and one per planted fault. The cases are shared out to processes of their own, since each keeps one core busy.
 */
import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { atLeast, type Bar, type Row } from "../../frame.ts";
import type { CrashPart } from "../part.ts";
import { type PlantedFault, plantedFaults } from "./planted-faults.ts";
import { enumerateCases, type Replayed, replayCase } from "./run-cases.ts";
import { makeCrashState } from "./start-state.ts";

/** Of a planted fault only cuts are replayed, and of those this share: it must be seen, not counted. */
const faultStep = 5;
const lastCuts = 14;
const faultKind = "power before, dropped";

export const effectsPart: CrashPart = {
  name: "effects",
  async run(say) {
    const replayed = await replayAll(say);
    const rows: Row[] = [];
    const bars: Bar[] = [];
    for (const [kind, cases] of Map.groupBy(replayed, ({ crash }) => crash.kind)) {
      const survived = cases.filter(({ ending }) => ending.broken.length === 0);
      rows.push({ harness: "effects", kind, points: cases.length, survived: survived.length });
    }
    const survived = replayed.filter(({ ending }) => ending.broken.length === 0).length;
    bars.push(atLeast("effects: points survived", survived, replayed.length));
    for (const fault of plantedFaults) {
      const { points, caught } = await faultCatches(fault, { step: faultStep, firstOnly: false });
      say(`planted: ${fault.name}: ${caught} of ${points} points show it by ${fault.caughtBy}`);
      rows.push({ harness: "effects", kind: `planted: ${fault.name}`, points, caught });
      bars.push(atLeast(`planted fault caught by ${fault.caughtBy}`, caught, 1));
    }
    return { rows, bars };
  },
};

async function replayAll(say: (line: string) => void): Promise<Replayed[]> {
  const shares = availableParallelism();
  const done = await Promise.all(
    Array.from({ length: shares }, (_, share) => replayShare({ share, shares, say })),
  );
  return done.flat();
}

function replayShare(options: {
  share: number;
  shares: number;
  say: (line: string) => void;
}): Promise<Replayed[]> {
  const { share, shares, say } = options;
  const entry = fileURLToPath(new URL("./replay-main.ts", import.meta.url));
  const child = fork(entry, [String(share), String(shares)]);
  const replayed: Replayed[] = [];
  child.on("message", (message) => {
    const one = message as Replayed;
    replayed.push(one);
    const { crash, ending } = one;
    for (const { invariant, what } of ending.broken) {
      say(`${crash.kind} at ${crash.at}: ${invariant}: ${what}`);
    }
  });
  return new Promise((resolve, reject) => {
    child.on("exit", (code) =>
      code === 0 ? resolve(replayed) : reject(new Error(`share ${share} ended with ${code}`)),
    );
  });
}

/** How many cuts show a planted fault by its invariant; `firstOnly` stops at the first that does. */
export async function faultCatches(
  fault: PlantedFault,
  options: { step: number; firstOnly: boolean },
): Promise<{ points: number; caught: number }> {
  const start = await makeCrashState();
  const cuts = (await enumerateCases(start, fault)).filter(({ kind }) => kind === faultKind);
  // The last effects of an update are its commit, where one of the faults shows: they come first.
  const chosen = cuts
    .filter((_, index) => index % options.step === 0 || index >= cuts.length - lastCuts)
    .reverse();
  let points = 0;
  let caught = 0;
  for (const one of chosen) {
    const { ending } = await replayCase(start, one, fault);
    points++;
    if (ending.broken.some(({ invariant }) => invariant === fault.caughtBy)) caught++;
    if (options.firstOnly && caught > 0) break;
  }
  return { points, caught };
}
