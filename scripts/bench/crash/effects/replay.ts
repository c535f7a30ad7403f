/**
 * One update of one device from the start state to its end, with something happening on the way. The
 * device is started again whenever it is off, and once more at the end, from what was durable.
 */
import type { AgentPorts } from "../../../../agent/context.ts";
import { startRollout } from "../../../../controller/rollout/service.ts";
import type { Answer } from "../../../../shared/inference/processing/answer.ts";
import { broken, type InvariantName } from "../../../simulate/checks/invariants.ts";
import { superviseDevice } from "../../../simulate/fleet/supervise.ts";
import { modelName } from "../../../simulate/world/catalogue.ts";
import type { CutMode } from "../../../simulate/world/effects.ts";
import { copyStorage, createMachine, type MachinePlan } from "../../../simulate/world/machine.ts";
import { type AgentRun, startController } from "../../../simulate/world/programs.ts";
import {
  allAtOnce,
  deviceName,
  newWorld,
  type StartState,
} from "../../../simulate/world/start-state.ts";
import { inputOf } from "../../../simulate/world/synthetic-model.ts";
import { during } from "../../../simulate/world/time.ts";

export interface Script {
  readonly version: string;
  /** What becomes of each effect of the first boot; those of later boots are done. */
  readonly fate?: MachinePlan;
  readonly cutMode?: CutMode;
  /** Ports of every boot, to plant a fault in the program. */
  readonly change?: (ports: AgentPorts) => Partial<AgentPorts>;
  readonly endings: readonly string[];
}

export interface Ending {
  readonly outcome: string;
  readonly boots: number;
  readonly tookMs: number;
  readonly broken: readonly { readonly invariant: InvariantName; readonly what: string }[];
}

const seed = 1;
const updateMsMax = 4 * 3_600_000;
const quietMs = 30_000;
const sample = Uint8Array.of(7, 1, 2, 3);

export async function replay(start: StartState, script: Script): Promise<Ending> {
  const world = newWorld(seed, start.atMs);
  const { time } = world;
  const controller = createMachine(world, {
    name: "controller",
    storage: copyStorage(start.controller),
  });
  const ctx = await startController(world, controller);
  const order = { model: modelName, version: script.version, stages: allAtOnce };
  const { id: rollout } = await during(time, startRollout(ctx, order));
  const { version: _version, endings, fate, cutMode, change } = script;
  const device = superviseDevice(world, {
    name: deviceName,
    storage: copyStorage(start.device),
    first: { ...(fate && { plan: fate }), ...(cutMode && { cutMode }) },
    ...(change && { change }),
  });
  const attemptRow = () =>
    ctx.db
      .selectFrom("attempts")
      .select(["id", "outcome"])
      .where("rollout", "=", rollout)
      .executeTakeFirst();
  const ended = async () => ((await attemptRow())?.outcome ?? null) !== null && device.isIdle();
  await time.run(updateMsMax, ended);
  await time.run(quietMs);
  // Only what is durable counts: the last look is after one more loss of power.
  device.machine.cut("dropped");
  await time.run(updateMsMax, () => device.isIdle());
  await time.run(quietMs);
  const answer = await during(time, ask(device.current()));
  const offered = await attemptRow();
  return {
    outcome: offered?.outcome ?? "none",
    boots: device.boots(),
    tookMs: time.nowMs() - start.atMs,
    broken: await broken({
      ctx,
      device: deviceName,
      // A device that never came back was offered nothing, which no invariant excuses.
      attempt: offered?.id ?? "none",
      versions: [...start.versions.values()],
      atBoots: device.atBoots,
      atEnd: device.look(),
      asked: { sample, answer },
      endings,
    }),
  };
}

async function ask({ local }: AgentRun): Promise<Answer | undefined> {
  return local?.serving.infer(modelName, inputOf(sample)).catch(() => undefined);
}
