/** The embedded broker as a port: who may connect is asked, who may do what follows from access.ts. */
import type { Clock } from "../../shared/ports/clock.ts";
import type { Log } from "../../shared/ports/log.ts";
import type { Principal } from "./access.ts";

export interface BrokerOptions {
  readonly host: string;
  readonly port: number;
  readonly certPem: string;
  readonly keyPem: string;
  readonly tenant: string;
  /** The principal behind a credential, or undefined to refuse it. */
  readonly authenticate: (credential: {
    username: string;
    password: Uint8Array;
    clientId: string;
  }) => Promise<Principal | undefined>;
  /** A client tried what it may not; its connection is closed. */
  readonly onViolation: (principal: Principal, topic: string) => void;
  readonly log: Log;
  readonly clock: Pick<Clock, "wallMs">;
}

export interface Broker {
  readonly port: number;
  connections(): number;
  /** One whose link is dead counts as connected until its keepalive is over. */
  isConnected(clientId: string): boolean;
  /** Wall time at which a packet of the client came last, pings too; undefined when none ever did. */
  heardAtMs(clientId: string): number | undefined;
  disconnect(clientId: string): void;
  stop(): Promise<void>;
}

export type StartBroker = (options: BrokerOptions) => Promise<Broker>;
