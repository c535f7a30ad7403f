/** Which devices a stage adds, purely and in a fixed order. */
import type { Stage } from "../../shared/api/stages.ts";

export interface Selectable {
  readonly id: string;
  readonly region: string;
  readonly deviceClass: string;
  /** It measured this version: it has run it already, so nobody else need be first. */
  readonly measured: boolean;
}

/** `rest` are the devices that no earlier stage took; `total` counts all that the rollout may reach. */
export function selectDevices<Device extends Selectable>(
  select: Stage["select"],
  rest: readonly Device[],
  total: number,
): Device[] {
  const ordered = [...rest].sort(
    (a, b) => Number(b.measured) - Number(a.measured) || (a.id < b.id ? -1 : 1),
  );
  switch (select.by) {
    case "per-class": {
      const taken = new Map<string, number>();
      return ordered.filter(({ deviceClass }) => {
        const count = (taken.get(deviceClass) ?? 0) + 1;
        taken.set(deviceClass, count);
        return count <= select.count;
      });
    }
    case "count":
      return ordered.slice(0, select.count);
    case "percent":
      return ordered.slice(0, Math.max(1, Math.ceil((total * select.percent) / 100)));
    case "regions":
      return ordered.filter(({ region }) => select.regions.includes(region));
    case "classes":
      return ordered.filter(({ deviceClass }) => select.classes.includes(deviceClass));
    case "devices":
      return ordered.filter(({ id }) => select.devices.includes(id));
    case "all":
      return ordered;
  }
}
