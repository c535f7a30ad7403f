/** What every part of the agent is given: ports, store, identity and the sender of messages. */

import type { Profile } from "../shared/devices/profile.ts";
import type { Clock } from "../shared/ports/clock.ts";
import type { Files } from "../shared/ports/files.ts";
import type { Log } from "../shared/ports/log.ts";
import type { ConnectMqtt } from "../shared/ports/mqtt.ts";
import type { Processes } from "../shared/ports/processes.ts";
import type { Random } from "../shared/ports/random.ts";
import type { OpenSqlite } from "../shared/ports/sqlite.ts";
import type { Identity } from "./identity.ts";
import type { ReadPower } from "./probe/power.ts";
import type { AgentStore } from "./state/store.ts";
import type { HeardTime } from "./time.ts";

export interface AgentPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly openSqlite: OpenSqlite;
  readonly connectMqtt: ConnectMqtt;
  readonly processes: Processes;
  readonly log: Log;
}

export interface AgentContext extends AgentPorts {
  readonly dataDir: string;
  readonly store: AgentStore;
  readonly identity: Identity;
  /** Random name of this process run: 16 hexadecimal digits. */
  readonly boot: string;
  readonly profile: Profile;
  /** What feeds the device at the moment of the call. */
  readonly readPower: ReadPower;
  readonly emulated: boolean;
  readonly fingerprint: string;
  readonly agentVersion: string;
  /** Of this run of the program: agent/time.ts alone reads and writes it. */
  readonly heardTime: HeardTime;
}
