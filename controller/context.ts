/** What every part of the controller is given: ports, database, blobs, keys, settings, the sender. */
import type { KeyPair } from "../shared/artifact/signature.ts";
import type { Clock } from "../shared/ports/clock.ts";
import type { Files } from "../shared/ports/files.ts";
import type { Log } from "../shared/ports/log.ts";
import type { ConnectMqtt } from "../shared/ports/mqtt.ts";
import type { Processes } from "../shared/ports/processes.ts";
import type { Random } from "../shared/ports/random.ts";
import type { OpenSqlite, Sqlite } from "../shared/ports/sqlite.ts";
import type { MessageName, PayloadOf } from "../shared/protocol/registry.ts";
import type { BlockQueue } from "./artifacts/block-queue.ts";
import type { BlobStore } from "./blobs/blob-store.ts";
import type { StartBroker } from "./broker/port.ts";
import type { Recipe } from "./compress/recipe.ts";
import type { ControllerConfig } from "./config.ts";
import type { DeviceClass } from "./fleet/classes.ts";
import type { Region } from "./fleet/regions.ts";
import type { NoteFault } from "./mqtt/fault-log.ts";
import type { EvidenceCache } from "./rollout/evidence/store.ts";
import type { Looks } from "./rollout/looks.ts";
import type { Database } from "./storage/database.ts";

export interface ControllerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly openSqlite: OpenSqlite;
  readonly connectMqtt: ConnectMqtt;
  readonly processes: Processes;
  readonly log: Log;
  readonly startBroker: StartBroker;
}

export interface FleetConfig {
  readonly classes: readonly DeviceClass[];
  readonly regions: readonly Region[];
  readonly recipes: readonly Recipe[];
}

export interface ControllerContext extends ControllerPorts {
  readonly config: ControllerConfig;
  /** Wall time at which this controller began to listen; what devices did meanwhile comes after it. */
  readonly startedAtMs: number;
  readonly db: Database;
  /** The driver under `db`, for backups. */
  readonly sqlite: Sqlite;
  readonly blobs: BlobStore;
  readonly fleet: FleetConfig;
  readonly signingKey: KeyPair;
  readonly caPem: string;
  /** Where devices reach the broker. */
  readonly mqttUrl: string;
  /** Best effort: what is lost is sent again on the device's next birth. */
  readonly publish: <Name extends MessageName>(
    name: Name,
    device: string,
    payload: PayloadOf<Name>,
  ) => Promise<void>;
  /** Tells a device that an outbox message is stored; call after the commit. */
  readonly ack: (device: string, message: PayloadOf<"ack">["messages"][number]) => void;
  /** Records what a sender did wrong, without letting it fill the record. */
  readonly noteFault: NoteFault;
  /** Sends the artifact blocks that a device asked for, when it is its turn. */
  readonly blockQueue: BlockQueue;
  /** Evidence of rollouts under way, as far as it was read from their ledgers. */
  readonly evidence: EvidenceCache;
  /** Looks at rollouts after answers, not too often. */
  readonly looks: Looks;
  /** Whether the broker has a connection of the device. */
  readonly isConnected: (device: string) => boolean;
  /** Wall time at which a packet of the device came last; undefined when none did since this controller began. */
  readonly heardAtMs: (device: string) => number | undefined;
  /** Closes a device's connection, if it has one. */
  readonly disconnect: (device: string) => void;
}
