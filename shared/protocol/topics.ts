/**
 * The only place with topic strings.
 *
 *   fleetfit/v1/{tenant}/up/{shard}/{device}/{message}    a device writes, the controller reads
 *   fleetfit/v1/{tenant}/d/{device}/{message}             the controller writes, the device reads
 *   fleetfit/v1/{tenant}/claim/{claim}/up|down/{message}  enrolment with a claim token
 *
 * The shard lets several controllers split the uplink later; today one takes all.
 */
import { createHash } from "node:crypto";
import { nameSchema } from "../artifact/names.ts";
import type { MessageDefinition } from "./message.ts";

const root = "fleetfit/v1";
/** Uplink shards: DESIGN decision of the topic scheme; never changed, as devices compute it. */
export const uplinkShards = 64;

export interface TopicAddress {
  readonly tenant: string;
  /** Device id, or claim id for the two claim directions. */
  readonly device: string;
  readonly message: string;
  readonly direction: MessageDefinition["direction"];
}

export function topicOf(
  message: Pick<MessageDefinition, "name" | "direction">,
  tenant: string,
  device: string,
): string {
  switch (message.direction) {
    case "up":
      return `${root}/${tenant}/up/${shardOf(device)}/${device}/${message.name}`;
    case "down":
      return `${root}/${tenant}/d/${device}/${message.name}`;
    case "claim-up":
      return `${root}/${tenant}/claim/${device}/up/${message.name}`;
    case "claim-down":
      return `${root}/${tenant}/claim/${device}/down/${message.name}`;
  }
}

/** Filters: what a controller, a device and a claim holder subscribe to. */
export function controllerFilters(tenant: string): string[] {
  return [`${root}/${tenant}/up/+/+/+`, `${root}/${tenant}/claim/+/up/+`];
}
export function deviceFilter(tenant: string, device: string): string {
  return `${root}/${tenant}/d/${device}/+`;
}
export function claimFilter(tenant: string, claim: string): string {
  return `${root}/${tenant}/claim/${claim}/down/+`;
}

/** The parts of a topic, or undefined when it is none of ours. */
export function parseTopic(topic: string): TopicAddress | undefined {
  const parts = topic.split("/");
  if (parts.length > 7 || `${parts[0]}/${parts[1]}` !== root) return undefined;
  const [tenant, kind, ...rest] = parts.slice(2);
  if (tenant === undefined || !nameSchema.safeParse(tenant).success) return undefined;
  if (kind === "up" && rest.length === 3) {
    const [shard, device, message] = rest as [string, string, string];
    return Number(shard) === shardOf(device) ? address(tenant, device, message, "up") : undefined;
  }
  if (kind === "d" && rest.length === 2) return address(tenant, rest[0]!, rest[1]!, "down");
  if (kind === "claim" && rest.length === 3 && (rest[1] === "up" || rest[1] === "down")) {
    return address(tenant, rest[0]!, rest[2]!, `claim-${rest[1]}`);
  }
  return undefined;
}

function address(
  tenant: string,
  device: string,
  message: string,
  direction: TopicAddress["direction"],
) {
  if (!nameSchema.safeParse(device).success) return undefined;
  return { tenant, device, message, direction };
}

/** First two bytes of SHA-256 of the id, modulo the number of shards. */
export function shardOf(device: string): number {
  return createHash("sha256").update(device).digest().readUInt16BE(0) % uplinkShards;
}
