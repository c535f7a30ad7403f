/**
 * Every way in which the recorded update is disturbed: one case per effect and kind of disturbance.
 * Cases are plain data, so that a failing one can be named and replayed alone.
 */
import { FleetError } from "../../../../shared/errors.ts";
import { databaseFault } from "../../../simulate/world/databases.ts";
import { diskError } from "../../../simulate/world/disk.ts";
import type { CutMode, Effect, Fate } from "../../../simulate/world/effects.ts";
import type { MachinePlan } from "../../../simulate/world/machine.ts";
import type { Script } from "./replay.ts";
import { badVersions, goodVersion, lateVersion } from "./start-state.ts";

export interface CrashCase {
  readonly kind: string;
  /** Effect number and name, or the version that is bad. */
  readonly at: string;
  readonly script: Script;
}

export const modes: readonly CutMode[] = ["dropped", "names-kept", "torn", "kept"];
const yearsMs = 10 * 365 * 86_400_000;
/** Whatever else happens, the update of a good version that is only cut off must come to its end. */
export const mustCommit = ["committed"];

/** What to do at one effect; all others are done. */
export const at =
  (number: number, fate: (effect: Effect) => Fate): MachinePlan =>
  (effect) =>
    effect.number === number ? fate(effect) : "done";

interface Kind {
  readonly name: string;
  readonly covers: (effect: Effect) => boolean;
  readonly script: (effect: Effect) => Omit<Script, "version">;
}

export const writes = ({ reads }: Effect) => !reads;
const isFolderRemoval = ({ name }: Effect) => name.startsWith("remove ");
const fails = (error: (effect: Effect) => Error) => (effect: Effect) => ({ fails: error(effect) });
const ioError = fails(({ kind, name }) =>
  kind === "database" ? databaseFault("SQLITE_IOERR") : diskError("EIO", name),
);
const fullError = fails(({ kind, name }) =>
  kind === "database" ? databaseFault("SQLITE_FULL") : diskError("ENOSPC", name),
);
const onDisk = ({ kind }: Effect) => kind === "file" || kind === "database";

const kinds: readonly Kind[] = [
  ...modes.flatMap((cutMode): Kind[] =>
    (["cut-before", "cut-after"] as const).map((fate) => ({
      name: `power ${fate === "cut-before" ? "before" : "after"}, ${cutMode}`,
      covers: writes,
      script: ({ number }) => ({ cutMode, endings: mustCommit, fate: at(number, () => fate) }),
    })),
  ),
  {
    name: "power inside, torn",
    covers: (effect) => isFolderRemoval(effect) || effect.name.startsWith("write "),
    script: ({ number }) => ({
      cutMode: "torn",
      endings: mustCommit,
      fate: at(number, () => "cut-inside"),
    }),
  },
  {
    name: "disk full",
    covers: (effect) => onDisk(effect) && writes(effect) && !/^(fsync|remove)/.test(effect.name),
    script: ({ number }) => ({ endings: [], fate: at(number, fullError) }),
  },
  {
    name: "I/O error",
    covers: onDisk,
    script: ({ number }) => ({ endings: [], fate: at(number, ioError) }),
  },
  {
    name: "broker unreachable",
    covers: ({ kind }) => kind === "mqtt",
    script: ({ number }) => ({
      endings: mustCommit,
      fate: at(
        number,
        fails(() => new FleetError("mqtt-unreachable", "simulated")),
      ),
    }),
  },
  {
    name: "runner killed",
    covers: ({ kind }) => kind === "process",
    script: ({ number }) => ({
      endings: [],
      fate: at(
        number,
        fails(() => new Error("killed")),
      ),
    }),
  },
  {
    name: "clock to 1970",
    covers: writes,
    script: ({ number }) => ({
      endings: [],
      fate: (effect, clock) => {
        if (effect.number === number) clock.fallToEpoch();
        return "done";
      },
    }),
  },
  {
    name: "clock ten years on",
    covers: writes,
    script: ({ number }) => ({
      endings: [],
      fate: (effect, clock) => {
        if (effect.number === number) clock.jump(yearsMs);
        return "done";
      },
    }),
  },
];

export const named = ({ number, kind, name }: Effect) => `${number} ${kind} ${name}`;

/** Each recorded effect of a device disturbed once in each way that fits it. */
export function disturbed(effects: readonly Effect[], version: string): CrashCase[] {
  return kinds.flatMap(({ name, covers, script }) =>
    effects.filter(covers).map((effect) => ({
      kind: name,
      at: named(effect),
      script: { version, ...script(effect) },
    })),
  );
}

/** All cases of an update whose effects were recorded. */
export function casesOf(effects: readonly Effect[]): CrashCase[] {
  const bad = badVersions.map((version) => ({
    kind: "bad model",
    at: version,
    script: { version, endings: ["rolled-back"] },
  }));
  const late = {
    kind: "bad model",
    at: lateVersion,
    script: { version: lateVersion, endings: [] },
  };
  return [...disturbed(effects, goodVersion), ...bad, late];
}
