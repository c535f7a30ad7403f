/**
 * Looks at the memory of a child while it computes: a model whose need depends on its input passes
 * every trial and then takes the whole device with it.
 *
 * Invariant: a child that has nothing to do is not looked at, so that an idle device stays idle. Where
 * the system does not tell (no /proc), nobody is accused.
 */
import { FleetError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Files } from "../ports/files.ts";

/** Between two looks, in ms: an allocation is written to at some GB/s. */
const everyMs = 50;
const statusBytesMax = 65_536;

/** The returned function is called with each new call to the child. */
export function watchMemory(options: {
  readonly files: Files;
  readonly clock: Clock;
  readonly pid: number | undefined;
  readonly ramBytesMax: number;
  readonly isBusy: () => boolean;
  /** Called with `runner-memory` when the child holds more than `ramBytesMax`. */
  readonly onOver: (why: FleetError) => void;
}): () => void {
  const { clock, pid, ramBytesMax, isBusy } = options;
  let armed = false;
  const look = async (): Promise<void> => {
    const bytes = isBusy() ? await residentBytes(options.files, pid) : undefined;
    armed = false;
    if (bytes === undefined) return;
    if (bytes <= ramBytesMax) return arm();
    const [held, most] = [bytes, ramBytesMax].map((value) => `${(value / 1e6).toFixed(0)} MB`);
    options.onOver(
      new FleetError("runner-memory", `the model's process holds ${held}; ${most} are allowed`),
    );
  };
  const arm = (): void => {
    if (armed || pid === undefined) return;
    armed = true;
    clock.after(everyMs, () => void look());
  };
  return arm;
}

/** Undefined where the system does not tell, or when the process is gone. */
async function residentBytes(files: Files, pid: number | undefined): Promise<number | undefined> {
  const status = await files
    .read(`/proc/${pid}/status`, { maxBytes: statusBytesMax })
    .catch(() => undefined);
  const found = status && /^VmRSS:\s+(\d+) kB$/m.exec(new TextDecoder().decode(status));
  return found?.[1] === undefined ? undefined : Number(found[1]) * 1024;
}
