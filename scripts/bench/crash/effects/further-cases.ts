/**
 * Cuts beyond those of one update of one device: its first enrolment, the controller on the other side,
 * and a second cut while the first one is recovered from.
 */
import { seededRandom } from "../../../../shared/prng.ts";
import type { Effect } from "../../../simulate/world/effects.ts";
import type { StartState } from "../../../simulate/world/start-state.ts";
import { at, type CrashCase, disturbed, modes, mustCommit, named, writes } from "./cases.ts";
import { enrolment, replay, type Script } from "./replay.ts";
import { goodVersion } from "./start-state.ts";

/** A process that is killed keeps all that it wrote; a power cut keeps what was fsynced. */
const serverModes = ["dropped", "kept"] as const;
const pairSeed = 41;

/**
 * Every cut of a first enrolment and first install, by the device's effects. What only fails, as a full
 * disk, may end a first install without a model.
 */
export async function enrolmentCases(start: StartState): Promise<CrashCase[]> {
  const { device } = await recorded(start, { version: enrolment, endings: [] });
  return disturbed(device, enrolment)
    .filter(({ script }) => script.endings === mustCommit)
    .map((one) => ({ ...one, kind: `enrolment: ${one.kind}` }));
}

/** The controller's power, before and after each of its effects in an update and in an enrolment. */
export async function serverCases(start: StartState): Promise<CrashCase[]> {
  const cases: CrashCase[] = [];
  for (const [of, version] of [
    ["update", goodVersion],
    ["enrolment", enrolment],
  ] as const) {
    const { server } = await recorded(start, { version, endings: [] });
    for (const effect of server.filter(writes))
      for (const cutMode of serverModes)
        for (const fate of ["cut-before", "cut-after"] as const)
          cases.push({
            kind: `controller in an ${of}: power ${fate.slice("cut-".length)}, ${cutMode}`,
            at: named(effect),
            script: {
              version,
              endings: mustCommit,
              server: { plan: at(effect.number, () => fate), cutMode },
            },
          });
  }
  return cases;
}

/**
 * `count` pairs (i, j), drawn from one seed: power lost at effect i of an update, and again at the j-th
 * effect after the reboot. Each begins with a run that records what the recovery of i does.
 */
export async function doubleCases(start: StartState, count: number): Promise<CrashCase[]> {
  const random = seededRandom(pairSeed);
  const one = <T>(of: readonly T[]): T => of[random.nextInt(of.length)]!;
  const { device } = await recorded(start, { version: goodVersion, endings: [] });
  const first = device.filter(writes);
  const cases: CrashCase[] = [];
  while (cases.length < count) {
    const cut = one(first);
    const script: Script = {
      version: goodVersion,
      endings: mustCommit,
      cutMode: one(modes),
      fate: at(cut.number, () => "cut-before"),
    };
    const { recovery } = await recorded(start, script);
    const again = one(recovery.filter(writes));
    const fate = one(["cut-before", "cut-after"] as const);
    const second = { cutMode: one(modes), plan: at(again.number, () => fate) };
    cases.push({
      kind: "power twice",
      at: `${named(cut)} (${script.cutMode}), then ${fate} ${named(again)} (${second.cutMode})`,
      script: { ...script, second },
    });
  }
  return cases;
}

/** The effects of the device's first boot, of its second one, and of the controller's first. */
async function recorded(
  start: StartState,
  script: Script,
): Promise<{ device: Effect[]; recovery: Effect[]; server: Effect[] }> {
  const effects = { device: [] as Effect[], recovery: [] as Effect[], server: [] as Effect[] };
  const keep = (into: Effect[]) => (effect: Effect) => {
    into.push(effect);
    return "done" as const;
  };
  await replay(start, {
    ...script,
    fate: script.fate ?? keep(effects.device),
    second: { plan: keep(effects.recovery) },
    server: { plan: keep(effects.server) },
  });
  return effects;
}
