/**
 * A process that runs models for this one while this one computes too: as many samples a second as
 * there are processors, with one thread each, so that sums are added up in the order of one thread.
 */
import type { OutputTensor } from "./processing/answer.ts";
import { openChannel, type RunnerOptions } from "./runner.ts";
import type { Feed } from "./session.ts";

export interface Helper {
  /** Opens an ONNX file in place of the one before. Errors: `onnx-malformed`, those of a runner. */
  open(modelBytes: Uint8Array): Promise<OpenedModel>;
  /** Ends the process; resolves when it is gone. */
  close(): Promise<void>;
}

export interface OpenedModel {
  /** How many axes each input has; 0 where that is not known. */
  readonly ranks: Readonly<Record<string, number>>;
  /** Runs it after the earlier calls. Errors: those of a runner. */
  run(feeds: Readonly<Record<string, Feed>>): Promise<Readonly<Record<string, OutputTensor>>>;
  close(): Promise<void>;
}

/** More of them wait for the process that hands out the samples. */
const helpersMax = 3;
const startTimeoutMs = 60_000;
const callTimeoutMs = 120_000;

/** How many of them make use of a machine, beside the process that has them. */
export function helpersFor(processors: number): number {
  return Math.min(helpersMax, processors - 1);
}

/** Resolves when the process can be asked. Errors: those of a runner. */
export async function startHelper(
  ports: Pick<RunnerOptions, "processes" | "clock">,
): Promise<Helper> {
  const channel = openChannel(ports);
  try {
    // There is nothing to shut yet: the answer says that the runtime is loaded.
    await channel.call("shut", { opened: 0 }, startTimeoutMs);
  } catch (error) {
    await channel.close();
    throw error;
  }
  return {
    async open(modelBytes) {
      const { opened, ranks } = await channel.call("open", { modelBytes }, startTimeoutMs);
      return {
        ranks,
        run: (feeds) => channel.call("run", { opened, feeds }, callTimeoutMs),
        async close() {
          await channel.call("shut", { opened }, callTimeoutMs);
        },
      };
    },
    close: channel.close,
  };
}
