/**
 * A controller that is started again whenever its power was cut, as `superviseDevice` does for a device.
 *
 * Invariant: it boots outside of virtual time, because it makes keys; the world waits meanwhile.
 */
import type { ControllerContext } from "../../../../controller/context.ts";
import {
  createMachine,
  type Machine,
  type Storage,
  type World,
} from "../../../simulate/world/machine.ts";
import { type AgentBoot, startController } from "../../../simulate/world/programs.ts";

export interface SimServer {
  readonly machine: Machine;
  /** Of the run that is on now. */
  ctx(): ControllerContext;
  boots(): number;
  /** As `run` of the world's time; `done` is asked only while the controller is on. */
  run(limitMs: number, done?: () => boolean | Promise<boolean>): Promise<boolean>;
}

/** Time without power, in ms. */
const offMs = 2_000;

export async function superviseServer(
  world: World,
  { storage, first = {} }: { storage: Storage; first?: Pick<AgentBoot, "plan" | "cutMode"> },
): Promise<SimServer> {
  const { time } = world;
  let wentOff = Promise.withResolvers<undefined>();
  const machine = createMachine(world, {
    name: "controller",
    storage,
    onOff: () => wentOff.resolve(undefined),
  });
  let boots = 0;
  /** A boot that is cut never answers. */
  const boot = async (): Promise<ControllerContext> => {
    for (;;) {
      wentOff = Promise.withResolvers();
      const started = startController(world, machine, {}, boots++ === 0 ? first : {});
      const up = await Promise.race([started, wentOff.promise]);
      if (up !== undefined && machine.isOn()) return up;
      await time.run(offMs);
    }
  };
  let ctx = await boot();
  return {
    machine,
    ctx: () => ctx,
    boots: () => boots,
    async run(limitMs, done = () => false) {
      const endMs = time.nowMs() + limitMs;
      for (;;) {
        const isOver = await time.run(
          endMs - time.nowMs(),
          async () => !machine.isOn() || (await done()),
        );
        if (machine.isOn()) return isOver;
        await time.run(offMs);
        ctx = await boot();
      }
    },
  };
}
