/** What happens because time passed and no message came: at start, and then every few seconds. */
import type { ControllerContext } from "./context.ts";
import { noteAbsence } from "./fleet/absence.ts";
import { closeLateCosts } from "./measure/costs.ts";
import { closeLateMeasurements } from "./measure/service.ts";
import { advanceAllRollouts } from "./rollout/advance.ts";

export async function keepDeadlines(ctx: ControllerContext): Promise<void> {
  await noteAbsence(ctx);
  await closeLateMeasurements(ctx);
  await closeLateCosts(ctx);
  await advanceAllRollouts(ctx);
}
