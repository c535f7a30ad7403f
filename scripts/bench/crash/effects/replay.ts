/**
 * One update of one device, or its first enrolment, from the start state to its end, with something
 * happening on the way. Programs are started again whenever they are off, and the device once more at the
 * end, from what was durable.
 */
import type { AgentPorts } from "../../../../agent/context.ts";
import type { ControllerContext } from "../../../../controller/context.ts";
import { startRollout } from "../../../../controller/rollout/service.ts";
import { createClaim } from "../../../../controller/trust/claims.ts";
import type { Answer } from "../../../../shared/inference/processing/answer.ts";
import { broken, type InvariantName } from "../../../simulate/checks/invariants.ts";
import { type SimDevice, superviseDevice } from "../../../simulate/fleet/supervise.ts";
import { modelName } from "../../../simulate/world/catalogue.ts";
import type { CutMode } from "../../../simulate/world/effects.ts";
import { copyStorage, emptyStorage, type MachinePlan } from "../../../simulate/world/machine.ts";
import type { AgentRun } from "../../../simulate/world/programs.ts";
import {
  allAtOnce,
  deviceName,
  firstVersion,
  newWorld,
  type StartState,
} from "../../../simulate/world/start-state.ts";
import { inputOf } from "../../../simulate/world/synthetic-model.ts";
import { during } from "../../../simulate/world/time.ts";
import { type SimServer, superviseServer } from "./server.ts";

/** What becomes of the effects of one boot, and what is on the disk after a cut. */
export interface BootPlan {
  readonly plan: MachinePlan;
  readonly cutMode?: CutMode;
}

export interface Script {
  /** The version that is rolled out; `enrolment` for a new device that gets what the fleet has. */
  readonly version: string;
  /** What becomes of each effect of the device's first boot; those of later boots are done. */
  readonly fate?: MachinePlan;
  readonly cutMode?: CutMode;
  /** The same for its second boot, and for the first one of the controller. */
  readonly second?: BootPlan;
  readonly server?: BootPlan;
  /** Ports of every boot, to plant a fault in the program. */
  readonly change?: (ports: AgentPorts) => Partial<AgentPorts>;
  readonly endings: readonly string[];
}

export interface Ending {
  readonly outcome: string;
  readonly boots: number;
  readonly serverBoots: number;
  readonly tookMs: number;
  readonly broken: readonly { readonly invariant: InvariantName; readonly what: string }[];
}

export const enrolment = "enrolment";
const newcomer = "device-2";
const seed = 1;
const updateMsMax = 4 * 3_600_000;
const quietMs = 30_000;
/** An operator types an order again that got no answer. */
const ordersMax = 5;
const sample = Uint8Array.of(7, 1, 2, 3);

export async function replay(start: StartState, script: Script): Promise<Ending> {
  const world = newWorld(seed, start.atMs);
  const { time } = world;
  const server = await superviseServer(world, {
    storage: copyStorage(start.controller),
    ...(script.server && { first: script.server }),
  });
  const isNew = script.version === enrolment;
  const device = isNew ? newcomer : deviceName;
  const claimToken = isNew ? await orderClaim(server, device) : undefined;
  if (!isNew) await orderRollout(server, script.version);
  const { fate, cutMode, change, second } = script;
  const supervised = superviseDevice(world, {
    name: device,
    storage: isNew ? emptyStorage() : copyStorage(start.device),
    plans: [{ ...(fate && { plan: fate }), ...(cutMode && { cutMode }) }, second ?? {}],
    ...(claimToken !== undefined && { claimToken }),
    ...(change && { change }),
  });
  const version = isNew ? firstVersion : script.version;
  const attemptRow = () => newestAttempt(server, device, version);
  const ended = async () => ((await attemptRow())?.outcome ?? null) !== null && supervised.isIdle();
  await server.run(updateMsMax, ended);
  await server.run(quietMs);
  // Only what is durable counts: the last look is after one more loss of power.
  supervised.machine.cut("dropped");
  await server.run(updateMsMax, () => supervised.isIdle());
  await server.run(quietMs);
  const answer = await during(time, ask(supervised.current()));
  const offered = await attemptRow();
  return {
    outcome: offered?.outcome ?? "none",
    boots: supervised.boots(),
    serverBoots: server.boots(),
    tookMs: time.nowMs() - start.atMs,
    broken: await broken({
      ctx: server.ctx(),
      device,
      // A device that never came back was offered nothing, which no invariant excuses.
      attempt: offered?.id ?? "none",
      versions: [...start.versions.values()],
      atBoots: bootsSeen(supervised, isNew),
      atEnd: supervised.look(),
      asked: { sample, answer },
      endings: script.endings,
    }),
  };
}

/** A new device has no model at first; what it has once it has one must hold as for any other. */
function bootsSeen({ atBoots }: SimDevice, isNew: boolean): SimDevice["atBoots"] {
  return isNew ? atBoots.filter(({ committed }) => committed !== undefined) : atBoots;
}

/** Orders until the controller has it; a controller that was cut may have it without an answer. */
async function orderRollout(server: SimServer, version: string): Promise<void> {
  for (let order = 0; order < ordersMax; order++) {
    await give(server, (ctx) =>
      startRollout(ctx, { model: modelName, version, stages: allAtOnce }).catch(() => {}),
    );
    const known = await server
      .ctx()
      .db.selectFrom("rollouts")
      .select("id")
      .where("version", "=", version)
      .executeTakeFirst();
    if (known !== undefined) return;
  }
  throw new Error("the controller takes no order");
}

/** A token that the controller answered with; without an answer nobody has one, and it is asked again. */
async function orderClaim(server: SimServer, device: string): Promise<string> {
  for (let order = 0; order < ordersMax; order++) {
    const claim = await give(server, (ctx) =>
      createClaim(ctx, { device, region: "eu-west", labels: {} }),
    );
    if (claim !== undefined) return claim.token;
  }
  throw new Error("the controller makes no claim");
}

/** Gives an order to the controller; undefined when it lost its power before it had answered. */
async function give<T>(
  server: SimServer,
  order: (ctx: ControllerContext) => Promise<T>,
): Promise<T | undefined> {
  const boots = server.boots();
  let answer: { readonly value: T } | undefined;
  void order(server.ctx()).then((value) => {
    if (server.machine.isOn()) answer = { value };
  });
  await server.run(updateMsMax, () => answer !== undefined || server.boots() > boots);
  return answer?.value;
}

function newestAttempt(server: SimServer, device: string, version: string) {
  return server
    .ctx()
    .db.selectFrom("attempts")
    .select(["id", "outcome"])
    .where("device", "=", device)
    .where("version", "=", version)
    .orderBy("createdAtMs", "desc")
    .executeTakeFirst();
}

async function ask({ local }: AgentRun): Promise<Answer | undefined> {
  return local?.serving.infer(modelName, inputOf(sample)).catch(() => undefined);
}
