/**
 * Bytes that a device writes to its flash for an update and at rest, from the recorded system calls of
 * a real agent, against a budget.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FlashBytes, flashBytesOf } from "./crash/syscalls/flash-bytes.ts";
import { recordIdle } from "./crash/syscalls/idle.ts";
import { recordUpdate, whyNoStrace } from "./crash/syscalls/record.ts";
import { atMost, type Benchmark, type Row } from "./frame.ts";

/** Makes a file of about 1 MB. */
const channels = 3_500;
/** An update may write what it brings three times, and this much of its own notes. */
const updateFactor = 3;
const updateNotesBytes = 2_000_000;
const dayBytesMax = 50_000_000;
/** Two telemetry windows of the default length, and a little more. */
const idleMs = 620_000;
const callEveryMs = 20_000;
const dayMs = 86_400_000;

export const flashBenchmark: Benchmark = {
  name: "flash",
  summary: `bytes written to flash per update and per day at rest, from ${idleMs / 1000} s of it`,
  async run(say) {
    const reason = whyNoStrace();
    if (reason !== undefined) throw new Error(`the system calls cannot be recorded: ${reason}`);
    const folder = mkdtempSync(join(tmpdir(), "fleetfit-flash-"));
    try {
      const recording = await recordUpdate(folder, channels);
      const update = flashBytesOf(recording.operations);
      say(`an update of ${recording.updateBytes} bytes writes ${update.pageBytes}`);
      const idle = flashBytesOf(
        await recordIdle(recording, join(folder, "idle"), { idleMs, callEveryMs }),
      );
      const day = scaled(idle, dayMs / idleMs);
      const updateBytesMax = updateFactor * recording.updateBytes + updateNotesBytes;
      return {
        rows: [
          rowOf("update", recording.updateBytes, update),
          rowOf(`${idleMs / 1000} s at rest`, null, idle),
          rowOf("day at rest, extrapolated", null, day),
        ],
        bars: [
          atMost("bytes to flash per update", update.pageBytes, updateBytesMax),
          atMost("bytes to flash per day at rest", day.pageBytes, dayBytesMax),
        ],
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function scaled(bytes: FlashBytes, factor: number): FlashBytes {
  const times = (value: number) => Math.round(value * factor);
  return {
    rawBytes: times(bytes.rawBytes),
    pageBytes: times(bytes.pageBytes),
    syncs: times(bytes.syncs),
  };
}

function rowOf(what: string, broughtBytes: number | null, bytes: FlashBytes): Row {
  return { what, broughtBytes, ...bytes };
}
