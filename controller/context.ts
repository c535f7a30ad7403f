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
import type { Pace } from "./artifacts/pacer.ts";
import type { BlobStore } from "./blobs/blob-store.ts";
import type { StartBroker } from "./broker/port.ts";
import type { Recipe } from "./compress/recipe.ts";
import type { ControllerConfig } from "./config.ts";
import type { DeviceClass } from "./fleet/classes.ts";
import type { Region } from "./fleet/regions.ts";
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
  /** Waits until this many bytes of a transfer may leave. */
  readonly pace: Pace;
  /** Closes a device's connection, if it has one. */
  readonly disconnect: (device: string) => void;
}
