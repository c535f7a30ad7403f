/**
 * Sends and receives messages of an enrolled device. Reports go through the outbox: stored first,
 * sent until the controller acks, deleted only then. Everything else is sent when there is a
 * connection and derived again from state when there is one later.
 *
 * Invariants: the session number is durable before a connection uses it; the last will carries it.
 */
import { createSessionLoop, type SessionLoop } from "../shared/connection.ts";
import type { MqttConnection, MqttConnectOptions } from "../shared/ports/mqtt.ts";
import { deviceUsernamePrefix } from "../shared/protocol/claim-token.ts";
import {
  decodeMessage,
  type Envelope,
  encodeMessage,
  type MessageDefinition,
} from "../shared/protocol/message.ts";
import {
  type MessageName,
  messageOfTopic,
  messages,
  type PayloadOf,
} from "../shared/protocol/registry.ts";
import { deviceFilter, topicOf } from "../shared/protocol/topics.ts";
import type { AgentContext } from "./context.ts";
import { createOutbox } from "./outbox.ts";
import { believedNow } from "./time.ts";
import { worldError } from "./world-error.ts";

export type DownMessage =
  | "desired"
  | "hold"
  | "labels"
  | "ack"
  | "artifact-block"
  | "artifact-refused";
export type DownHandlers = {
  readonly [Name in DownMessage]: (payload: PayloadOf<Name>, envelope: Envelope) => void;
};

export interface Messenger {
  start(): void;
  stop(): Promise<void>;
  /** Best effort: nothing happens without a connection. */
  send<Name extends MessageName>(name: Name, payload: PayloadOf<Name>): Promise<void>;
  /** Stores a report; inside a store transaction it becomes durable with that transaction. */
  enqueue<Name extends MessageName>(name: Name, payload: PayloadOf<Name>): void;
  /** Sends what the outbox holds, now if there is a connection. */
  flush(): void;
  connected(): boolean;
}

const keepaliveSeconds = 30;
const connectTimeoutMs = 20_000;
/**
 * Brokers lose messages that they acked. A birth that no wanted state answered is sent again after this
 * and as much jitter, in ms; then now and then, so that no lost birth, report or wanted state is missed
 * for longer. The controller takes a second birth of a session for the same one and answers it.
 */
const birthAgainMs = 15_000;
const presentMs = 300_000;

export function createMessenger(options: {
  context: AgentContext;
  handlers: Omit<DownHandlers, "ack">;
  /** Called with each connection, before its first birth. */
  onConnected: () => void;
  /** Called after each birth. */
  onPresent: () => void;
}): Messenger {
  const { context } = options;
  const { store, identity } = context;
  const encode = envelopeWriter(context);
  let session = 0;
  let connection: MqttConnection | undefined;

  const topics = new Map<MessageName, string>();
  const publish = async (name: MessageName, bytes: Uint8Array): Promise<void> => {
    const message = messages[name] as MessageDefinition;
    const topic = topics.get(name) ?? topicOf(message, identity.tenant, identity.device);
    topics.set(name, topic);
    await connection?.publish(topic, bytes, message.qos);
  };
  const send: Messenger["send"] = async (name, payload) => {
    if (connection === undefined) return;
    await publish(name, encode(name, payload).bytes).catch((error: unknown) => {
      context.log.debug("a message was not sent", { name, error: String(error) });
    });
  };
  const outbox = createOutbox({ context, publish, isConnected: () => connection !== undefined });
  let isHeard = false;
  const present = async (): Promise<void> => {
    await publish("birth", encode("birth", birthOf(context, session)).bytes);
    options.onPresent();
  };
  const presentAgain = (opened: MqttConnection, pauseMs: number): void => {
    context.clock.after(pauseMs * (1 + context.random.fraction()), () => {
      if (connection !== opened) return;
      if (!isHeard || pauseMs === presentMs) {
        present().catch((error: unknown) => {
          if (worldError(error) === undefined) throw error;
          context.log.debug("a birth was not sent", { error: String(error) });
        });
      }
      presentAgain(opened, isHeard ? presentMs : birthAgainMs);
    });
  };
  const handlers: DownHandlers = {
    ...options.handlers,
    desired(payload, envelope) {
      isHeard = true;
      options.handlers.desired(payload, envelope);
    },
    ack: outbox.acked,
  };
  const loop: SessionLoop = createSessionLoop({
    connect: context.connectMqtt,
    clock: context.clock,
    random: context.random,
    log: context.log,
    options() {
      session = store.nextNumber("session");
      return connectOptions(context, encode("death", { session }).bytes);
    },
    async onConnected(opened) {
      connection = opened;
      isHeard = false;
      outbox.forgetInFlight();
      opened.onMessage((topic, bytes) => receive(context, handlers, topic, bytes));
      await opened.subscribe(deviceFilter(identity.tenant, identity.device), 1);
      options.onConnected();
      await present();
      presentAgain(opened, birthAgainMs);
      outbox.flush();
    },
    onLost() {
      connection = undefined;
      outbox.forgetInFlight();
    },
  });

  return {
    start() {
      outbox.start();
      loop.start();
    },
    async stop() {
      outbox.stop();
      await send("death", { session });
      await loop.stop();
    },
    send,
    enqueue(name, payload) {
      outbox.add(name, encode(name, payload));
    },
    flush: outbox.flush,
    connected: () => connection !== undefined,
  };
}

type Encoded = { readonly bytes: Uint8Array; readonly sequence: number };

/** Encodes with the next sequence number of this boot. */
function envelopeWriter(context: AgentContext): (name: MessageName, payload: unknown) => Encoded {
  const { identity, clock, boot } = context;
  let next = 0;
  return (name, payload) => {
    const now = believedNow(context);
    const sequence = next++;
    const envelope = {
      tenant: identity.tenant,
      device: identity.device,
      boot,
      sequence,
      monotonicMs: clock.monotonicMs(),
      wallMs: now.ms,
      clockTrusted: now.trusted,
    };
    return {
      bytes: encodeMessage(messages[name] as MessageDefinition, envelope, payload),
      sequence,
    };
  };
}

function connectOptions(context: AgentContext, will: Uint8Array): MqttConnectOptions {
  const { identity } = context;
  return {
    url: identity.mqttUrl,
    caPem: identity.caPem,
    clientId: identity.device,
    username: deviceUsernamePrefix + identity.device,
    password: identity.password,
    cleanSession: true,
    keepaliveSeconds,
    connectTimeoutMs,
    will: {
      topic: topicOf(messages.death, identity.tenant, identity.device),
      payload: will,
      qos: 1,
    },
  };
}

/** A bad message, or one that cannot be stored now, is logged and dropped; the connection lives on. */
function receive(
  context: AgentContext,
  handlers: DownHandlers,
  topic: string,
  bytes: Uint8Array,
): void {
  try {
    dispatch(topic, bytes, handlers);
  } catch (error) {
    const known = worldError(error);
    if (known === undefined) throw error;
    context.log.warn("a message was refused", { code: known.code, error: known.message });
  }
}

function birthOf(context: AgentContext, session: number): PayloadOf<"birth"> {
  return {
    session,
    agentVersion: context.agentVersion,
    profileFingerprint: context.fingerprint,
    emulated: context.emulated,
    outboxPending: context.store.outboxCount(),
  };
}

function dispatch(topic: string, bytes: Uint8Array, handlers: DownHandlers): void {
  const { name } = messageOfTopic(topic);
  if (!Object.hasOwn(handlers, name)) return;
  const known = name as DownMessage;
  const { payload, envelope } = decodeMessage(messages[known] as MessageDefinition, bytes);
  (handlers[known] as (payload: unknown, envelope: Envelope) => void)(payload, envelope);
}
