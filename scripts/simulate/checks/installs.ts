/**
 * Watches every write of a device for installs that were not allowed: while a hold is in force that it knows,
 * outside of its region's windows, or on a battery below the floor. Reads its writes, its table of holds
 * and the world's own clock; the agent is not asked.
 *
 * An install is judged where it begins, at the first write to a slot: what began may end.
 */
import type { InstallRules } from "../fleet/region.ts";
import type { Machine, MachinePlan } from "../world/machine.ts";
import { deviceDir } from "../world/programs.ts";
import type { VirtualTime } from "../world/time.ts";

export interface InstallWatch {
  /** What sees the effects of one machine. */
  readonly of: (machine: Pick<Machine, "name" | "readDatabase">) => MachinePlan;
  readonly faults: readonly string[];
}

const slotWrite = new RegExp(`^(mkdir|open|rename) ${deviceDir}/models/`);
const installing = "select id from attempts where outcomeJson is null and state = 'installing'";
const held = "select reason from holds where held = 1";

export function watchInstalls(options: {
  time: Pick<VirtualTime, "nowMs">;
  rules: InstallRules;
  /** Share of the battery that is left now. */
  charge: () => number;
}): InstallWatch {
  const { time, rules, charge } = options;
  const faults: string[] = [];
  const begun = new Set<string>();
  return {
    faults,
    of: (machine) => {
      const read = <Row>(sql: string) =>
        machine.readDatabase(
          `${deviceDir}/agent.db`,
          (database) => database.prepare(sql).all() as Row[],
        );
      const judge = (attempt: string): void => {
        if (begun.has(attempt)) return;
        begun.add(attempt);
        const [hold] = read<{ reason: string }>(held);
        const wrong = [
          hold && `under the hold "${hold.reason}"`,
          isClosed(rules, time.nowMs()) && "outside of its windows",
          charge() < rules.batteryFractionMin && `on a battery at ${charge()}`,
        ];
        for (const each of wrong.filter(Boolean)) {
          faults.push(`${machine.name}: ${attempt} began to be installed ${each}`);
        }
      };
      return ({ kind, name }) => {
        if (kind === "file" && slotWrite.test(name)) {
          for (const { id } of read<{ id: string }>(installing)) judge(id);
        }
        return "done";
      };
    },
  };
}

const isClosed = ({ windows }: InstallRules, nowMs: number): boolean =>
  windows !== undefined && !windows.some(({ fromMs, toMs }) => nowMs >= fromMs && nowMs < toMs);
