/**
 * A machine that runs one program at a time: its disk and databases outlive each run, nothing else does.
 *
 * Invariant: only what the cut left on the disk, and what was committed, is there at the next boot.
 */
import type Database from "better-sqlite3";
import type { Log } from "../../../shared/ports/log.ts";
import type { Random as RandomPort } from "../../../shared/ports/random.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { type Databases, type Images, openImage, simDatabases } from "./databases.ts";
import { afterCut, type Disk, emptyDisk } from "./disk.ts";
import { type CutMode, createPower, type Effect, type Fate, type Power } from "./effects.ts";
import { simFiles } from "./files.ts";
import type { Network } from "./network.ts";
import { type SimProcesses, simProcesses } from "./processes.ts";
import { type NodeClock, nodeClock, type VirtualTime } from "./time.ts";

/** What a machine holds while it is off. */
export interface Storage {
  readonly disk: Disk;
  readonly images: Images;
}

export interface World {
  readonly time: VirtualTime;
  readonly network: Network;
  readonly seed: number;
}

/** One run of a program on a machine, with every port it needs. */
export interface Run {
  readonly power: Power;
  readonly clock: NodeClock;
  readonly random: RandomPort;
  readonly log: Log;
  readonly processes: SimProcesses;
  readonly databases: Databases;
  readonly guard: (work: () => void) => void;
  /** Errors that the program did not catch: each of them ends a real one. */
  readonly faults: unknown[];
}

/** May also set the machine's clock. */
export type MachinePlan = (effect: Effect, clock: NodeClock) => Fate;

export interface Machine {
  readonly name: string;
  /** What is durable, or what is there now while a program runs. */
  storage(): Storage;
  disk(): Disk;
  /** Reads what a database holds: in use, or as the last run left it. */
  readDatabase<T>(path: string, look: (database: Database.Database) => T): T;
  /** Begins a run; the one before it must have ended. */
  begin(options?: { plan?: MachinePlan; cutMode?: CutMode; wallOffsetMs?: number }): Run;
  /** Cuts the power of the current run. */
  cut(mode?: CutMode): void;
  isOn(): boolean;
  /** The end of the world: frees the memory of its databases. */
  dispose(): void;
}

const allDone: MachinePlan = () => "done";

export const emptyStorage = (): Storage => ({ disk: emptyDisk(), images: new Map() });

/** A copy that later writes to the original do not reach. */
export function copyStorage({ disk, images }: Storage): Storage {
  return { disk: afterCut(disk, "kept"), images: new Map(images) };
}

export function createMachine(
  world: World,
  options: {
    name: string;
    storage: Storage;
    log?: (line: string) => void;
    /** Called when a run has ended, by a cut or by its own fault. */
    onOff?: () => void;
  },
): Machine {
  const { name } = options;
  let storage = options.storage;
  let current: Run | undefined;
  let boots = 0;
  let cutMode: CutMode = "dropped";
  return {
    name,
    storage: () =>
      current?.power.isOn() ? { ...storage, images: current.databases.images() } : storage,
    disk: () => storage.disk,
    dispose: () => current?.databases.dispose(),
    readDatabase(path, look) {
      const live = current?.power.isOn() ? current.databases.live(path) : undefined;
      if (live !== undefined) return look(live);
      const stored = openImage(storage.images.get(path));
      try {
        return look(stored);
      } finally {
        stored.close();
      }
    },
    isOn: () => current?.power.isOn() ?? false,
    cut(mode = "dropped") {
      cutMode = mode;
      current?.power.cut();
    },
    begin({ plan = allDone, cutMode: wantedMode = "dropped", wallOffsetMs = 0 } = {}) {
      cutMode = wantedMode;
      const { disk, images } = storage;
      const power = createPower({
        plan: (effect) => plan(effect, clock),
        onCut: () => {
          storage = { disk: afterCut(disk, cutMode), images: databases.imagesAfterCut() };
          world.network.stationLost(power, cutMode !== "kept");
          options.onOff?.();
        },
      });
      const databases = simDatabases(images, power);
      const random = seededRandom(seedOf(world.seed, name, boots++));
      const faults: unknown[] = [];
      const guard = (work: () => void) => {
        try {
          work();
        } catch (error) {
          faults.push(error);
          cutMode = "kept";
          power.cut();
        }
      };
      const clock = nodeClock(world.time, power.isOn, guard, wallOffsetMs);
      current = {
        power,
        clock,
        random: {
          bytes: (count) => Uint8Array.from({ length: count }, () => random.nextInt(256)),
          fraction: random.nextFloat,
        },
        log: logOf(world, name, options.log),
        processes: simProcesses({ time: world.time, random, disk, power, guard }),
        databases,
        guard,
        faults,
      };
      return current;
    },
  };
}

/** The ports that agent and controller share. */
export function portsOf(world: World, machine: Machine, run: Run) {
  const { clock, random, log, processes, databases, power, guard } = run;
  const station = { name: machine.name, power, guard };
  return {
    clock,
    random,
    log,
    processes,
    files: simFiles(machine.disk(), power),
    openSqlite: databases.open,
    connectMqtt: world.network.connector(station),
    startBroker: world.network.brokerFor(station),
  };
}

function seedOf(seed: number, name: string, boot: number): number {
  let hash = seed ^ Math.imul(boot + 1, 0x9e3779b1);
  for (const char of name) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

function logOf(world: World, name: string, write: ((line: string) => void) | undefined): Log {
  const at =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}) =>
      write?.(
        `${world.time.nowMs().toFixed(0)} ${name} ${level} ${message} ${JSON.stringify(fields)}`,
      );
  const log: Log = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => log,
  };
  return log;
}
