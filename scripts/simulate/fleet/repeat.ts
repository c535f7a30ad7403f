/** The command that runs one seed again, as it is printed with what went wrong. */
import type { SeedOrder } from "./run-seed.ts";

export function repeatCommand(devices: number, order: SeedOrder): string {
  const { seed, mix, release, operator } = order;
  return `npm run simulate -- --devices ${devices} --seeds ${seed} --mix ${mix} --release ${release} --operator ${operator}`;
}
