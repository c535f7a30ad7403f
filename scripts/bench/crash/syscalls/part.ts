/**
 * The half of the crash benchmark that knows an update by its system calls: one update of a real agent
 * is recorded with strace, and a real agent boots on every disk that a cut could have left.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atLeast, type Outcome, type Row } from "../../frame.ts";
import type { CrashPart } from "../part.ts";
import { cutPoints } from "./disks.ts";
import { plantedFaults } from "./faults.ts";
import { type Recording, recordUpdate, whyNoStrace } from "./record.ts";
import { type Replay, replayAll } from "./replay.ts";

const harness = "system calls";

export const systemCallsPart: CrashPart = { name: harness, run: systemCallCuts };

/** Errors: an `Error` that says why where system calls cannot be recorded. */
async function systemCallCuts(say: (line: string) => void): Promise<Outcome> {
  const reason = whyNoStrace();
  if (reason !== undefined) throw new Error(`the system calls cannot be recorded: ${reason}`);
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-calls-"));
  try {
    const recording = await recordUpdate(folder);
    say(`recorded ${recording.operations.length} operations on the disk`);
    const cuts = await allCuts(recording, folder, say);
    const caught = await allFaults(recording, folder, say);
    return { rows: [...cuts.rows, ...caught.rows], bars: [...cuts.bars, ...caught.bars] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function allCuts(
  recording: Recording,
  folder: string,
  say: (line: string) => void,
): Promise<Outcome> {
  const { points, count } = cutPoints(recording);
  say(`${count} cuts leave ${points.length} different disks`);
  const done: Replay[] = [];
  for await (const replay of replayAll(recording, { folder, points })) {
    done.push(replay);
    const { point, outcome, why, faults } = replay;
    const place = `${done.length}/${points.length}, after operation ${point.after}, ${point.cut}`;
    say(`${place}: ${faults.length === 0 ? `${outcome}: ${why}` : faults.join("; ")}`);
  }
  const rows = [...Map.groupBy(done, ({ point }) => point.cut)].map(([cut, of]) => ({
    harness,
    kind: `disks after a cut, unsynced writes ${cut}`,
    points: of.length,
    survived: of.filter(survived).length,
  }));
  const kind = `cuts at ${recording.operations.length} operations, equal disks and all`;
  return {
    rows: [{ harness, kind, points: count, survived: null }, ...rows],
    bars: [atLeast(`${harness}: disks survived`, done.filter(survived).length, points.length)],
  };
}

const survived = ({ faults }: Replay) => faults.length === 0;

/** The last moment of a run with a fault in it: the server has heard, the disk must know. */
async function allFaults(
  recording: Recording,
  folder: string,
  say: (line: string) => void,
): Promise<Outcome> {
  const rows: Row[] = [];
  for (const { name, change } of plantedFaults) {
    const operations = change(recording.operations);
    const point = { after: operations.length, cut: "dropped", server: "told" } as const;
    const found: string[] = [];
    const tries = replayAll({ ...recording, operations }, { folder, points: [point] });
    for await (const { faults } of tries) found.push(...faults);
    say(`planted: ${name}: ${found.join("; ") || "not caught"}`);
    rows.push({
      harness,
      kind: `planted: ${name}`,
      points: 1,
      caught: found.length === 0 ? 0 : 1,
    });
  }
  const caught = rows.filter((row) => row["caught"] === 1).length;
  return { rows, bars: [atLeast(`${harness}: planted faults caught`, caught, rows.length)] };
}
