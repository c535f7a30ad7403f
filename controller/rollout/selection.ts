/**
 * Which devices a stage adds, purely.
 *
 * The order is random but the same for one seed: inside each stratum (region × class) devices are sorted
 * by a hash of seed and name, and strata are interleaved in proportion to their size, so that any first
 * part of the order is a stratified random sample of the fleet.
 */
import type { Condition, Stage } from "../../shared/api/stages.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";

export interface Selectable {
  readonly id: string;
  readonly region: string;
  readonly deviceClass: string;
  /** Who is away is taken last where a stage takes only some: an absent canary proves nothing. */
  readonly online: boolean;
  readonly labelsJson: string;
  readonly profileJson: string;
}

export type Selector = Stage["select"];

export interface Population<Device> {
  /** All devices that the rollout may reach; percentages are of these. */
  readonly all: readonly Device[];
  /** Those that no earlier stage took. */
  readonly rest: readonly Device[];
  readonly seed: string;
}

export function selectDevices<Device extends Selectable>(
  select: Selector,
  { all, rest, seed }: Population<Device>,
): Device[] {
  const wanted = spread(rest, seed).filter((device) => mayTake(select, device));
  if (select.by === "per-class") return firstPerClass(onlineFirst(wanted), select.count);
  const total = all.filter((device) => mayTake(select, device)).length;
  const count = countOf(select, total);
  return count === undefined ? wanted : onlineFirst(wanted).slice(0, count);
}

/** True when a stage takes every device that it matches, so that a later one belongs to it too. */
export function takesLatecomers(select: Selector): boolean {
  return select.by !== "per-class" && countOf(select, 1) === undefined;
}

/** Whether a device may be in the stage at all, whatever the number that the stage takes. */
export function mayTake(select: Selector, device: Selectable): boolean {
  switch (select.by) {
    case "regions":
      return select.regions.includes(device.region);
    case "classes":
      return select.classes.includes(device.deviceClass);
    case "devices":
      return select.devices.includes(device.id);
    case "query":
      return select.where.every((condition) => holds(condition, device));
    case "per-class":
    case "count":
    case "percent":
    case "all":
      return true;
  }
}

/** How many a stage takes of `total` that it may take; undefined for all. */
function countOf(select: Selector, total: number): number | undefined {
  if (select.by === "count") return select.count;
  if (select.by === "percent") return share(select.percent, total);
  if (!("limit" in select) || select.limit === undefined) return undefined;
  return "count" in select.limit ? select.limit.count : share(select.limit.percent, total);
}

function share(percent: number, total: number): number {
  return Math.max(1, Math.ceil((total * percent) / 100));
}

function firstPerClass<Device extends Selectable>(
  devices: readonly Device[],
  count: number,
): Device[] {
  const taken = new Map<string, number>();
  return devices.filter(({ deviceClass }) => {
    const next = (taken.get(deviceClass) ?? 0) + 1;
    taken.set(deviceClass, next);
    return next <= count;
  });
}

function onlineFirst<Device extends Selectable>(devices: readonly Device[]): Device[] {
  return [...devices.filter(({ online }) => online), ...devices.filter(({ online }) => !online)];
}

function spread<Device extends Selectable>(devices: readonly Device[], seed: string): Device[] {
  const strata = new Map<string, { device: Device; hash: string }[]>();
  for (const device of devices) {
    const stratum = `${device.region}/${device.deviceClass}`;
    const hash = sha256Hex(new TextEncoder().encode(`${seed}/${device.id}`));
    const members = strata.get(stratum);
    if (members === undefined) strata.set(stratum, [{ device, hash }]);
    else members.push({ device, hash });
  }
  return [...strata.values()]
    .flatMap((members) =>
      members
        .sort((a, b) => (a.hash < b.hash ? -1 : 1))
        .map((member, at) => ({ ...member, rank: (at + 0.5) / members.length })),
    )
    .sort((a, b) => a.rank - b.rank || (a.hash < b.hash ? -1 : 1))
    .map(({ device }) => device);
}

function holds(condition: Condition, device: Selectable): boolean {
  const value = fieldOf(condition.field, device);
  const { equals, oneOf, min, max } = condition;
  if (equals !== undefined && value !== equals) return false;
  if (oneOf !== undefined && !oneOf.some((each) => each === value)) return false;
  if (min === undefined && max === undefined) return true;
  return typeof value === "number" && value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

function fieldOf(field: string, device: Selectable): unknown {
  if (field === "region") return device.region;
  if (field === "class") return device.deviceClass;
  const dot = field.indexOf(".");
  const json = field.startsWith("labels.") ? device.labelsJson : device.profileJson;
  const values = JSON.parse(json) as Record<string, unknown>;
  const name = field.slice(dot + 1);
  return Object.hasOwn(values, name) ? values[name] : undefined;
}
