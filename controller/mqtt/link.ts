/**
 * The controller's own connection to the broker: decodes what comes, keeps the order per device, and
 * acks outbox messages only after their effect is committed.
 *
 * Invariants: an outbox message has its effect once, however often it arrives; a bad message is
 * recorded and dropped; nothing is assumed about which devices this connection sees.
 */
import { createSessionLoop } from "../../shared/connection.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { MqttConnection } from "../../shared/ports/mqtt.ts";
import { controllerUsername } from "../../shared/protocol/claim-token.ts";
import {
  decodeMessage,
  type Envelope,
  encodeMessage,
  type MessageDefinition,
} from "../../shared/protocol/message.ts";
import { messageOfTopic, messages, type PayloadOf } from "../../shared/protocol/registry.ts";
import { controllerFilters, topicOf } from "../../shared/protocol/topics.ts";
import type { ControllerContext } from "../context.ts";
import { publishAllDesired } from "../fleet/desired.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { DirectHandler, DirectName, OutboxHandler, OutboxName } from "./handlers/handler.ts";
import { directHandlers, outboxHandlers } from "./handlers/registry.ts";

export interface Link {
  start(): void;
  stop(): Promise<void>;
  publish: ControllerContext["publish"];
}

const keepaliveSeconds = 30;
const connectTimeoutMs = 20_000;
/** The controller waits for its own broker: short retries. */
const backoff = { baseMs: 100, capMs: 2_000 };
const bootBytes = 8;

export function createLink(options: {
  /** Complete once the link exists; read on each use. */
  ctx: () => ControllerContext;
  ports: Pick<ControllerContext, "clock" | "random" | "connectMqtt" | "log">;
  tenant: string;
  url: string;
  caPem: string;
  secret: string;
}): Link {
  const { ports, tenant } = options;
  const boot = Buffer.from(ports.random.bytes(bootBytes)).toString("hex");
  const queues = new Map<string, Promise<void>>();
  let sequence = 0;
  let connection: MqttConnection | undefined;

  const publish: Link["publish"] = async (name, device, payload) => {
    const message = messages[name] as MessageDefinition;
    const bytes = encodeMessage(
      message,
      {
        tenant,
        device,
        boot,
        sequence: sequence++,
        monotonicMs: ports.clock.monotonicMs(),
        wallMs: ports.clock.wallMs(),
        clockTrusted: true,
      },
      payload,
    );
    await connection
      ?.publish(topicOf(message, tenant, device), bytes, message.qos)
      .catch((error: unknown) => {
        ports.log.debug("a message was not sent", { name, device, error: String(error) });
      });
  };
  /** Messages of one device are handled one after the other, those of others beside them. */
  const enqueue = (topic: string, bytes: Uint8Array): void => {
    const key = topic.slice(0, topic.lastIndexOf("/"));
    const before = queues.get(key) ?? Promise.resolve();
    const after = before.then(() => handle(options.ctx(), topic, bytes));
    queues.set(key, after);
    void after.then(() => {
      if (queues.get(key) === after) queues.delete(key);
    });
  };
  const loop = createSessionLoop({
    connect: ports.connectMqtt,
    clock: ports.clock,
    random: ports.random,
    log: ports.log,
    backoff,
    options: () => ({
      url: options.url,
      caPem: options.caPem,
      clientId: "controller",
      username: controllerUsername,
      password: options.secret,
      cleanSession: true,
      keepaliveSeconds,
      connectTimeoutMs,
    }),
    async onConnected(opened) {
      connection = opened;
      opened.onMessage(enqueue);
      for (const filter of controllerFilters(tenant)) await opened.subscribe(filter, 1);
      void publishAllDesired(options.ctx()).catch((error: unknown) => {
        ports.log.error("wanted states could not be sent", { error: String(error) });
      });
    },
    onLost() {
      connection = undefined;
    },
  });
  return {
    publish,
    start: () => loop.start(),
    async stop() {
      await loop.stop();
      await Promise.allSettled(queues.values());
    },
  };
}

async function handle(ctx: ControllerContext, topic: string, bytes: Uint8Array): Promise<void> {
  try {
    const { name, address } = messageOfTopic(topic);
    const { envelope, payload } = decodeMessage(messages[name] as MessageDefinition, bytes);
    if (envelope.device !== address.device || envelope.tenant !== address.tenant) {
      throw new FleetError(
        "topic-foreign",
        `${address.device} sent a message that names ${envelope.device}`,
      );
    }
    if (Object.hasOwn(outboxHandlers, name))
      await handleOutbox(ctx, name as OutboxName, envelope, payload);
    else if (Object.hasOwn(directHandlers, name)) {
      const handler = directHandlers[name as DirectName] as DirectHandler<DirectName>;
      await handler(ctx, envelope, payload as PayloadOf<DirectName>);
    }
  } catch (error) {
    const code = isFleetError(error) ? error.code : "internal";
    ctx.log.warn("a message was dropped", { topic, code, error: String(error) });
    const message = error instanceof Error ? error.message.slice(0, 500) : String(error);
    const event = {
      atMs: ctx.clock.wallMs(),
      kind: "message-dropped",
      subject: topic,
      message,
      data: { code },
    };
    await recordEvent(ctx.db, event).catch(() => {});
  }
}

async function handleOutbox(
  ctx: ControllerContext,
  name: OutboxName,
  envelope: Envelope,
  payload: unknown,
): Promise<void> {
  const { device, boot, sequence } = envelope;
  const handler = outboxHandlers[name] as OutboxHandler<OutboxName>;
  const afterwards = await ctx.db.transaction().execute(async (trx) => {
    const inserted = await trx
      .insertInto("received")
      .values({ device, boot, sequence, receivedAtMs: ctx.clock.wallMs() })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    if (inserted.numInsertedOrUpdatedRows === 0n) return undefined;
    return handler(ctx, trx, envelope, payload as PayloadOf<OutboxName>);
  });
  await ctx.publish("ack", device, { messages: [{ boot, sequence }] });
  await afterwards?.();
}
