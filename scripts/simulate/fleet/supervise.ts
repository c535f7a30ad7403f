/** A device that somebody switches on again: what systemd and the mains are to a real one. */
import type { Random } from "../../../shared/prng.ts";
import { isQuiet, type Observation, observe } from "../checks/observation.ts";
import {
  createMachine,
  type Machine,
  type MachinePlan,
  type Storage,
  type World,
} from "../world/machine.ts";
import { type AgentBoot, type AgentRun, startAgent } from "../world/programs.ts";

export interface SimDevice {
  readonly machine: Machine;
  /** What was true at each boot after the first, in the moment in which the agent was up. */
  readonly atBoots: Observation[];
  look(): Observation;
  /** Nothing is under way and nothing waits to be told. */
  isIdle(): boolean;
  current(): AgentRun;
  boots(): number;
}

/** Time without power, in ms: at least this, and up to ten times as much with `random`. */
const offMs = 2_000;
const offFactor = 10;

export function superviseDevice(
  world: World,
  options: {
    name: string;
    storage: Storage;
    random?: Random;
    /** By boot, the first being 0; what is not said goes well. */
    plans?: readonly Pick<AgentBoot, "plan" | "cutMode">[];
    /** For each boot: what starts a program gives it the same arguments again. */
    claimToken?: string;
    /** Sees every effect of every boot that has no plan of its own. */
    plan?: (machine: Machine) => MachinePlan;
    change?: AgentBoot["change"];
  },
): SimDevice {
  const { name, storage, random, plans = [], claimToken, change } = options;
  const atBoots: Observation[] = [];
  let boots = 0;
  const machine: Machine = createMachine(world, {
    name,
    storage,
    onOff: () =>
      world.time.after(offMs * (1 + (random?.nextFloat() ?? 0) * offFactor), () => {
        current = boot();
      }),
  });
  const plan = options.plan?.(machine);
  let current = boot();
  const look = () => observe(machine, current);
  return {
    machine,
    atBoots,
    look,
    current: () => current,
    boots: () => boots,
    isIdle: () => isQuiet(machine, current),
  };

  function boot(): AgentRun {
    const own = plans[boots];
    const isFirst = boots++ === 0;
    const next: AgentRun = startAgent(world, machine, {
      ...(plan && { plan }),
      ...own,
      ...(claimToken !== undefined && { claimToken }),
      ...(change && { change }),
      onUp() {
        if (!isFirst) atBoots.push(observe(machine, next));
      },
    });
    return next;
  }
}
