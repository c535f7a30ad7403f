/**
 * Topic rules, purely: a device writes only below its own id, reads only what is addressed to it, and
 * a claim reaches enrolment only.
 */
import { messages } from "../../shared/protocol/registry.ts";
import {
  claimFilter,
  controllerFilters,
  deviceFilter,
  parseTopic,
} from "../../shared/protocol/topics.ts";

export type Principal =
  | { readonly kind: "controller" }
  | { readonly kind: "device"; readonly id: string }
  | { readonly kind: "claim"; readonly id: string };

/** MQTT client ids are bound to the principal, so that one cannot take over another's session. */
export function clientIdOf(principal: Principal): string {
  return principal.kind === "device"
    ? principal.id
    : principal.kind === "claim"
      ? `claim-${principal.id}`
      : "controller";
}

export function mayPublish(principal: Principal, topic: string, tenant: string): boolean {
  const address = parseTopic(topic);
  if (address === undefined || address.tenant !== tenant) return false;
  if (!Object.hasOwn(messages, address.message)) return false;
  switch (principal.kind) {
    case "controller":
      return address.direction === "down" || address.direction === "claim-down";
    case "device":
      return address.direction === "up" && address.device === principal.id;
    case "claim":
      return address.direction === "claim-up" && address.device === principal.id;
  }
}

/** Only the exact filters that each principal needs; a wider one is refused. */
export function maySubscribe(principal: Principal, filter: string, tenant: string): boolean {
  switch (principal.kind) {
    case "controller":
      return controllerFilters(tenant).includes(filter);
    case "device":
      return filter === deviceFilter(tenant, principal.id);
    case "claim":
      return filter === claimFilter(tenant, principal.id);
  }
}
