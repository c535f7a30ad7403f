/** Strata that a rollout has taken back alone, and who is in them; pure. */
import { type Pairable, stratumOf } from "./evidence/pairing.ts";
import type { RolloutState } from "./machine.ts";

/** Of members of such a stratum, from then on. */
export const excludedStatus = "excluded";

export function isExcluded(
  { excluded }: Pick<RolloutState, "excluded">,
  device: Pick<Pairable, "region" | "deviceClass">,
): boolean {
  return excluded.length > 0 && excluded.some(({ stratum }) => stratum === stratumOf(device));
}
