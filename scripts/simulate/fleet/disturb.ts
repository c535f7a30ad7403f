/** The faults of a mix, at times and places that a seed draws. */
import type { ControllerContext } from "../../../controller/context.ts";
import { changeHold } from "../../../controller/fleet/holds.ts";
import { assert } from "../../../shared/assert.ts";
import type { Random } from "../../../shared/prng.ts";
import type { World } from "../world/machine.ts";
import type { VirtualTime } from "../world/time.ts";
import type { FleetDevice } from "./devices.ts";
import type { FaultMix } from "./mixes.ts";
import { regionName } from "./region.ts";

/** Faults begin within this time: about as long as an undisturbed rollout takes. */
export const disturbedMs = 20_000;
const spellMsMax = 600_000;
const holdMs = { least: 30_000, spread: 90_000 };
const lowBatteryMsMax = 300_000;
/** An order to a controller that is down is given again after this time. */
const orderAgainMs = 5_000;
const cutModes = ["dropped", "names-kept", "torn", "kept"] as const;

export function disturb(
  { time, network }: Pick<World, "time" | "network">,
  fleet: {
    devices: readonly FleetDevice[];
    /** The controller that runs now. */
    server: () => ControllerContext;
    mix: FaultMix;
    random: Random;
  },
): void {
  const { devices, mix, random } = fleet;
  const sometime = (run: () => void) => time.after(random.nextInt(disturbedMs), run);
  for (const { machine, battery } of devices) {
    if (random.nextFloat() < mix.powerCuts) {
      const mode = cutModes[random.nextInt(cutModes.length)];
      assert(mode !== undefined, "an index below the length");
      sometime(() => machine.cut(mode));
    }
    if (random.nextFloat() < mix.spells) {
      const forMs = random.nextInt(spellMsMax);
      sometime(() => network.cutOff(machine.name, forMs));
    }
    time.after(random.nextInt(lowBatteryMsMax), () => battery.fill(machine.disk()));
  }
  for (let drop = 0; drop < mix.brokerDrops; drop++) sometime(network.dropAll);
  for (let hold = 0; hold < mix.holds; hold++) {
    const setMs = (hold * holdMs.least + random.nextInt(disturbedMs)) * (hold + 1);
    holdFor(time, fleet.server, setMs, holdMs.least + random.nextInt(holdMs.spread));
  }
}

/** Holds the region from `setMs` on for a while. */
function holdFor(
  time: VirtualTime,
  server: () => ControllerContext,
  setMs: number,
  forMs: number,
): void {
  const scope = { kind: "region", region: regionName } as const;
  const order = (held: boolean) => () => {
    const reason = held ? "something smells" : "it was the coffee";
    giveUntilTaken(time, server, (ctx) => changeHold(ctx, { scope, held, reason }));
  };
  time.after(setMs, order(true));
  time.after(setMs + forMs, order(false));
}

/** Once to each run of the controller, since one that was killed never answers; again when it is refused. */
function giveUntilTaken(
  time: VirtualTime,
  server: () => ControllerContext,
  order: (ctx: ControllerContext) => Promise<unknown>,
): void {
  let isTaken = false;
  let givenTo: ControllerContext | undefined;
  const give = (): void => {
    if (isTaken) return;
    const ctx = server();
    if (ctx !== givenTo) {
      givenTo = ctx;
      order(ctx).then(
        () => {
          isTaken = true;
        },
        () => {
          givenTo = undefined;
        },
      );
    }
    time.after(orderAgainMs, give);
  };
  give();
}
