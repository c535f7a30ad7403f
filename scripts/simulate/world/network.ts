/**
 * A network with one broker: MQTT as the two ports see it, with losses that real brokers and links have.
 *
 * A message that the broker accepted is acked to its sender and may still be lost, doubled or late on
 * the way to a subscriber; a link that is cut off holds its messages until it is back or until either
 * side gives the connection up, 1.5 keepalives later (MQTT 3.1.1 §3.1.2.10).
 *
 * Invariant: the rules of access are those of the embedded broker (`controller/broker/access.ts`).
 */
import {
  clientIdOf,
  mayPublish,
  maySubscribe,
  type Principal,
} from "../../../controller/broker/access.ts";
import type { BrokerOptions, StartBroker } from "../../../controller/broker/port.ts";
import { FleetError } from "../../../shared/errors.ts";
import type {
  ConnectMqtt,
  MqttConnection,
  MqttConnectOptions,
} from "../../../shared/ports/mqtt.ts";
import type { Random } from "../../../shared/prng.ts";
import type { Power } from "./effects.ts";
import type { VirtualTime } from "./time.ts";

export interface LinkFaults {
  /** Shares of messages that the broker loses, doubles and delivers late. */
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
}

export const goodLinks: LinkFaults = { lost: 0, doubled: 0, late: 0 };

const latencyMs = { least: 2, spread: 8 };
/** How late a late message is at most, in ms. */
const lateMs = 5_000;
const keepaliveShare = 1.5;

/** One program on the network. */
export interface Station {
  readonly name: string;
  readonly power: Power;
  /** Runs a callback of the program and takes what it throws. */
  readonly guard: (work: () => void) => void;
}

export interface Network {
  connector(station: Station): ConnectMqtt;
  brokerFor(station: Station): StartBroker;
  /** The station is gone; `silently` as without power, when nobody tells the broker. */
  stationLost(power: Power, silently: boolean): void;
  /** Cuts a station off for a while. */
  cutOff(name: string, forMs: number): void;
  /** Closes every connection, as a broker that was started again. */
  dropAll(): void;
}

interface Session {
  readonly station: Station;
  readonly options: MqttConnectOptions;
  readonly principal: Principal;
  readonly filters: Set<string>;
  readonly onMessage: ((topic: string, payload: Uint8Array) => void)[];
  readonly onClose: ((reason: string) => void)[];
  /** Early messages wait for the first handler. */
  readonly waiting: (readonly [string, Uint8Array])[];
  isOpen: boolean;
  upAtMs: number;
  downAtMs: number;
  /** When the link or the station was lost last; it may be back. */
  lostAtMs: number;
}

interface RunningBroker {
  readonly station: Station;
  readonly options: BrokerOptions;
  readonly sessions: Map<string, Session>;
  /** When clients that are gone were heard of last. */
  readonly heardAtMs: Map<string, number>;
  /** Who asked for filters whose last level alone is open, and for any others. */
  readonly narrow: Map<string, Set<Session>>;
  readonly wide: Map<string, Set<Session>>;
}

export function createNetwork(options: {
  time: VirtualTime;
  random: Random;
  faults: LinkFaults;
}): Network {
  const air = createAir(options);
  const brokers = new Map<number, RunningBroker>();
  const sessions = () => [...brokers.values()].flatMap((broker) => [...broker.sessions.values()]);
  return {
    connector: (station) => (connect) => openSession(air, brokers, station, connect),
    brokerFor: (station) => async (brokerOptions) => {
      const port = brokerOptions.port;
      const broker: RunningBroker = {
        station,
        options: brokerOptions,
        sessions: new Map(),
        heardAtMs: new Map(),
        narrow: new Map(),
        wide: new Map(),
      };
      brokers.set(port, broker);
      return {
        port,
        connections: () => broker.sessions.size,
        isConnected: (clientId) => broker.sessions.has(clientId),
        heardAtMs(clientId) {
          const session = broker.sessions.get(clientId);
          const atMs =
            session === undefined ? broker.heardAtMs.get(clientId) : heardAtMs(air, session);
          if (atMs === undefined) return undefined;
          return brokerOptions.clock.wallMs() - Math.ceil(air.time.nowMs() - atMs);
        },
        disconnect: (clientId) => endById(air, broker, clientId),
        async stop() {
          if (brokers.get(port) === broker) brokers.delete(port);
          for (const session of broker.sessions.values()) closeSession(air, broker, session, true);
        },
      };
    },
    stationLost(power, silently) {
      for (const [port, broker] of brokers) {
        if (broker.station.power === power) brokers.delete(port);
        for (const session of broker.sessions.values()) {
          if (broker.station.power === power) closeSession(air, broker, session, true);
          else if (session.station.power === power) {
            if (!air.isOff(session.station.name)) session.lostAtMs = air.time.nowMs();
            const keepaliveMs = session.options.keepaliveSeconds * 1_000 * keepaliveShare;
            air.time.after(silently ? keepaliveMs : latencyMs.least, () =>
              closeSession(air, broker, session, false),
            );
          }
        }
      }
    },
    cutOff(name, forMs) {
      for (const session of sessions()) {
        if (session.station.name !== name) continue;
        session.lostAtMs = heardAtMs(air, session);
        const giveUpMs = session.options.keepaliveSeconds * 1_000 * keepaliveShare;
        air.time.after(giveUpMs, () => {
          const broker = [...brokers.values()].find((one) =>
            [...one.sessions.values()].includes(session),
          );
          if (broker !== undefined && air.isOff(name)) closeSession(air, broker, session, false);
        });
      }
      air.cutOff(name, forMs);
    },
    dropAll() {
      for (const broker of brokers.values()) {
        for (const session of broker.sessions.values()) closeSession(air, broker, session, false);
      }
    },
  };
}

type Air = ReturnType<typeof createAir>;

/** When a message arrives, and which ones do not. */
function createAir({
  time,
  random,
  faults,
}: {
  time: VirtualTime;
  random: Random;
  faults: LinkFaults;
}) {
  const offUntilMs = new Map<string, number>();
  const latency = () => latencyMs.least + random.nextFloat() * latencyMs.spread;
  const isOff = (name: string) => (offUntilMs.get(name) ?? 0) > time.nowMs();
  return {
    time,
    isOff,
    cutOff(name: string, forMs: number): void {
      offUntilMs.set(name, Math.max(offUntilMs.get(name) ?? 0, time.nowMs() + forMs));
    },
    latency,
    /** Runs `arrive` in order of sending, once the link is there. */
    carry(session: Session, direction: "upAtMs" | "downAtMs", arrive: () => void): void {
      const freeMs = Math.max(time.nowMs(), offUntilMs.get(session.station.name) ?? 0);
      const atMs = Math.max(freeMs + latency(), session[direction]);
      session[direction] = atMs;
      time.after(atMs - time.nowMs(), () => {
        if (session.isOpen) arrive();
      });
    },
    /** Delays of the copies that a subscriber gets: none, one or two. */
    copies(): number[] {
      if (random.nextFloat() < faults.lost) return [];
      const delay = () => (random.nextFloat() < faults.late ? random.nextFloat() * lateMs : 0);
      return random.nextFloat() < faults.doubled ? [delay(), delay()] : [delay()];
    },
  };
}

/** Who is there pings, more often than it matters here. */
function heardAtMs(air: Air, { station, lostAtMs }: Session): number {
  const isThere = station.power.isOn() && !air.isOff(station.name);
  return isThere ? air.time.nowMs() : lostAtMs;
}

function endById(air: Air, broker: RunningBroker, clientId: string): void {
  const session = broker.sessions.get(clientId);
  if (session !== undefined) closeSession(air, broker, session, false);
}

/** Ends a connection on both sides; `clean` keeps the will back. */
function closeSession(air: Air, broker: RunningBroker, session: Session, clean: boolean): void {
  if (!session.isOpen) return;
  session.isOpen = false;
  const { clientId, will } = session.options;
  if (broker.sessions.get(clientId) === session) {
    broker.heardAtMs.set(clientId, heardAtMs(air, session));
    broker.sessions.delete(clientId);
  }
  unsubscribeAll(broker, session);
  if (!clean && will !== undefined) route(air, broker, will.topic, will.payload);
  const { power, guard } = session.station;
  air.time.after(air.latency(), () => {
    if (!power.isOn()) return;
    for (const handler of session.onClose.splice(0)) guard(() => handler("the connection closed"));
  });
}

function route(air: Air, broker: RunningBroker, topic: string, payload: Uint8Array): void {
  for (const session of subscribersOf(broker, topic)) {
    for (const delayMs of air.copies()) {
      const carry = () =>
        air.carry(session, "downAtMs", () => deliver(session, topic, new Uint8Array(payload)));
      if (delayMs === 0) carry();
      else air.time.after(delayMs, carry);
    }
  }
}

function deliver(session: Session, topic: string, payload: Uint8Array): void {
  const { power, guard } = session.station;
  if (!power.isOn()) return;
  if (session.onMessage.length === 0) session.waiting.push([topic, payload]);
  for (const handler of session.onMessage) guard(() => handler(topic, payload));
}

/** Devices and claims ask for their own level alone; only the controller's filters are wider. */
function subscribersOf({ narrow, wide }: RunningBroker, topic: string): Iterable<Session> {
  const direct = narrow.get(`${topic.slice(0, topic.lastIndexOf("/"))}/+`) ?? [];
  const matching = [...wide].filter(([filter]) => matches(filter, topic));
  return new Set([...direct, ...matching.flatMap(([, sessions]) => [...sessions])]);
}

const isNarrow = (filter: string) => filter.indexOf("+") === filter.length - 1;

function subscribe({ narrow, wide }: RunningBroker, session: Session, filter: string): void {
  const table = isNarrow(filter) ? narrow : wide;
  table.set(filter, (table.get(filter) ?? new Set()).add(session));
  session.filters.add(filter);
}

function unsubscribeAll({ narrow, wide }: RunningBroker, session: Session): void {
  for (const filter of session.filters) {
    for (const table of [narrow, wide]) table.get(filter)?.delete(session);
  }
}

/** `+` stands for one level; `#` is used by nobody here. */
function matches(filter: string, topic: string): boolean {
  const wanted = filter.split("/");
  const given = topic.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((level, at) => level === "+" || level === given[at])
  );
}

function openSession(
  air: Air,
  brokers: ReadonlyMap<number, RunningBroker>,
  station: Station,
  options: MqttConnectOptions,
): Promise<MqttConnection> {
  const unreachable = () => new FleetError("mqtt-unreachable", `no answer from ${options.url}`);
  return station.power.act({
    kind: "mqtt",
    name: "connect",
    perform: () =>
      new Promise<MqttConnection>((resolve, reject) => {
        const settle = (finish: () => void) => {
          if (station.power.isOn()) finish();
        };
        air.time.after(options.connectTimeoutMs, () => settle(() => reject(unreachable())));
        if (air.isOff(station.name)) return;
        air.time.after(air.latency(), () => {
          const broker = brokers.get(Number(new URL(options.url).port));
          if (broker === undefined) return settle(() => reject(unreachable()));
          void admit(broker, station, options).then((principal) => {
            const refused = new FleetError("mqtt-refused", `${options.url} refused the credential`);
            if (principal === undefined) return settle(() => reject(refused));
            air.time.after(air.latency(), () =>
              settle(() => {
                // A broker that ended meanwhile would never tell.
                if (brokers.get(broker.options.port) !== broker) return reject(unreachable());
                resolve(begin(air, broker, { station, options, principal }));
              }),
            );
          });
        });
      }),
  });
}

async function admit(
  broker: RunningBroker,
  { power }: Station,
  { username, password, clientId, will }: MqttConnectOptions,
): Promise<Principal | undefined> {
  const principal = await broker.options.authenticate({
    username,
    password: new TextEncoder().encode(password),
    clientId,
  });
  if (principal === undefined || !power.isOn() || !broker.station.power.isOn()) return undefined;
  if (clientIdOf(principal) !== clientId) return undefined;
  const { tenant } = broker.options;
  return will === undefined || mayPublish(principal, will.topic, tenant) ? principal : undefined;
}

function begin(
  air: Air,
  broker: RunningBroker,
  opened: Pick<Session, "station" | "options" | "principal">,
): MqttConnection {
  const nowMs = air.time.nowMs();
  const session: Session = {
    ...opened,
    filters: new Set(),
    onMessage: [],
    onClose: [],
    waiting: [],
    isOpen: true,
    upAtMs: nowMs,
    downAtMs: nowMs,
    lostAtMs: nowMs,
  };
  endById(air, broker, opened.options.clientId);
  broker.sessions.set(opened.options.clientId, session);
  return connectionOf(air, broker, session);
}

function connectionOf(air: Air, broker: RunningBroker, session: Session): MqttConnection {
  const { power } = session.station;
  const { tenant, onViolation } = broker.options;
  /** Sends up and resolves when the broker's answer is back, if it asks for one. */
  const ask = (allowed: () => boolean, what: string, answered: boolean, then: () => void) =>
    new Promise<void>((resolve, reject) => {
      const lost = () => reject(new FleetError("mqtt-unreachable", "the connection is gone"));
      if (!session.isOpen) return lost();
      if (answered) session.onClose.push(lost);
      else resolve();
      air.carry(session, "upAtMs", () => {
        if (!allowed()) {
          onViolation(session.principal, what);
          return closeSession(air, broker, session, false);
        }
        then();
        air.carry(session, "downAtMs", () => power.isOn() && resolve());
      });
    });
  return {
    publish: (topic, payload, qos) =>
      power.act({
        kind: "mqtt",
        name: `publish ${topic.slice(topic.lastIndexOf("/") + 1)}`,
        perform: () =>
          ask(
            () => mayPublish(session.principal, topic, tenant),
            topic,
            qos === 1,
            () => route(air, broker, topic, payload),
          ),
      }),
    subscribe: (filter) =>
      power.act({
        kind: "mqtt",
        name: "subscribe",
        perform: () =>
          ask(
            () => maySubscribe(session.principal, filter, tenant),
            filter,
            true,
            () => subscribe(broker, session, filter),
          ),
      }),
    onMessage(handler) {
      session.onMessage.push(handler);
      for (const [topic, payload] of session.waiting.splice(0)) handler(topic, payload);
    },
    onClose: (handler) => {
      session.onClose.push(handler);
    },
    end: () =>
      power.act({
        kind: "mqtt",
        name: "disconnect",
        perform: () => closeSession(air, broker, session, true),
      }),
    abort() {
      if (power.isOn()) closeSession(air, broker, session, false);
    },
  };
}
