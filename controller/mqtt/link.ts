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
import { controllerFilters, parseTopic, topicOf } from "../../shared/protocol/topics.ts";
import type { ControllerContext } from "../context.ts";
import { publishAllDesired } from "../fleet/desired.ts";
import { publishHolds } from "../fleet/holds.ts";
import { prepared } from "../storage/prepared.ts";
import { createAcks } from "./acks.ts";
import type { Gate } from "./gate.ts";
import type { DirectHandler, DirectName, OutboxHandler, OutboxName } from "./handlers/handler.ts";
import { directHandlers, outboxHandlers } from "./handlers/registry.ts";

export interface Link {
  start(): void;
  stop(): Promise<void>;
  publish: ControllerContext["publish"];
  ack: ControllerContext["ack"];
}

const keepaliveSeconds = 30;
const connectTimeoutMs = 20_000;
/** The controller waits for its own broker: short retries. */
const backoff = { baseMs: 100, capMs: 2_000 };
const bootBytes = 8;
/**
 * Messages of one device that may wait for their turn; more are dropped. An agent has 16 reports in
 * flight and sends those again that get no ack.
 */
const waitingMax = 256;

export function createLink(options: {
  /** Complete once the link exists; read on each use. */
  ctx: () => ControllerContext;
  ports: Pick<ControllerContext, "clock" | "random" | "connectMqtt" | "log">;
  tenant: string;
  url: string;
  caPem: string;
  secret: string;
  /** Opened while this link listens. */
  gate: Gate;
}): Link {
  const { ports, tenant } = options;
  const boot = Buffer.from(ports.random.bytes(bootBytes)).toString("hex");
  const queues = createQueues();
  let sequence = 0;
  let connection: MqttConnection | undefined;

  const publish: Link["publish"] = async (name, device, payload) => {
    const message = messages[name] as MessageDefinition;
    try {
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
      await connection?.publish(topicOf(message, tenant, device), bytes, message.qos);
    } catch (error) {
      ports.log.warn("a message was not sent", { name, device, error: String(error) });
    }
  };
  const acks = createAcks(ports.clock, (device, sent) =>
    publish("ack", device, { messages: sent }),
  );
  const receive = (topic: string, bytes: Uint8Array): void => {
    const key = topic.slice(0, topic.lastIndexOf("/"));
    if (queues.add(key, () => handle(options.ctx(), topic, bytes))) return;
    ports.log.warn("a device sends faster than its messages are handled", { topic });
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
      opened.onMessage(receive);
      for (const filter of controllerFilters(tenant)) await opened.subscribe(filter, 1);
      options.gate.open();
      void tellAll(options.ctx()).catch((error: unknown) => {
        ports.log.error("wanted states could not be sent", { error: String(error) });
      });
    },
    onLost() {
      connection = undefined;
      options.gate.close();
    },
  });
  return {
    publish,
    ack: acks.add,
    start: () => loop.start(),
    async stop() {
      await acks.flush();
      await loop.stop();
      await queues.empty();
      await acks.flush();
    },
  };
}

/** Nobody knows what the broker lost: holds first, so that nothing is installed before they are known. */
async function tellAll(ctx: ControllerContext): Promise<void> {
  await publishHolds(ctx, { kind: "tenant" });
  await publishAllDesired(ctx);
}

/** Tasks of one key run one after the other, those of others beside them. */
function createQueues() {
  const queues = new Map<string, { last: Promise<void>; waiting: number }>();
  return {
    /** False when too much waits there already. */
    add(key: string, task: () => Promise<void>): boolean {
      const queue = queues.get(key) ?? { last: Promise.resolve(), waiting: 0 };
      if (queue.waiting >= waitingMax) return false;
      queue.waiting++;
      queue.last = queue.last.then(task).finally(() => {
        queue.waiting--;
        if (queue.waiting === 0) queues.delete(key);
      });
      queues.set(key, queue);
      return true;
    },
    async empty(): Promise<void> {
      await Promise.allSettled([...queues.values()].map(({ last }) => last));
    },
  };
}

async function handle(ctx: ControllerContext, topic: string, bytes: Uint8Array): Promise<void> {
  const sender = parseTopic(topic)?.device ?? "unknown";
  try {
    const { name, address } = messageOfTopic(topic);
    const { envelope, payload } = decodeMessage(messages[name] as MessageDefinition, bytes);
    if (envelope.device !== address.device || envelope.tenant !== address.tenant) {
      throw new FleetError(
        "topic-foreign",
        `${address.device} sent a message that names ${envelope.device}`,
      );
    }
    // The will of a device that was retired a moment ago may still arrive.
    if (address.direction === "up" && name !== "death") await refuseRetired(ctx, address.device);
    if (Object.hasOwn(outboxHandlers, name))
      await handleOutbox(ctx, name as OutboxName, envelope, payload);
    else if (Object.hasOwn(directHandlers, name)) {
      const handler = directHandlers[name as DirectName] as DirectHandler<DirectName>;
      await handler(ctx, envelope, payload as PayloadOf<DirectName>);
    }
  } catch (error) {
    const code = isFleetError(error) ? error.code : "internal";
    const message = error instanceof Error ? error.message : String(error);
    if (code === "internal") ctx.log.error("a message was not handled", { topic, error: message });
    await ctx
      .noteFault({ kind: "message-dropped", subject: sender, code, message, topic })
      .catch((cause: unknown) => ctx.log.error("a fault was not stored", { cause: String(cause) }));
  }
}

/**
 * A device may have connected in the moment in which it was retired: its connection ends here.
 * Errors: `device-retired`, also for an identity that is not known.
 */
async function refuseRetired(ctx: ControllerContext, device: string): Promise<void> {
  const [row] = (await standingOf(ctx.db, { device })).rows;
  if (row !== undefined && row.standing !== "retired") return;
  ctx.disconnect(device);
  throw new FleetError("device-retired", `${device} is ${row?.standing ?? "not known"}`);
}

const standingOf = prepared((db, { device }: { device: string }) =>
  db.selectFrom("devices").select("standing").where("id", "=", device),
);

type Received = { device: string; boot: string; sequence: number; atMs: number };

const storeReceived = prepared((db, { device, boot, sequence, atMs }: Received) =>
  db
    .insertInto("received")
    .values({ device, boot, sequence, receivedAtMs: atMs })
    .onConflict((conflict) => conflict.doNothing()),
);

/** Stores the message and its effect in one transaction; acks it only after the commit. */
async function handleOutbox(
  ctx: ControllerContext,
  name: OutboxName,
  envelope: Envelope,
  payload: unknown,
): Promise<void> {
  const { device, boot, sequence } = envelope;
  const handler = outboxHandlers[name] as OutboxHandler<OutboxName>;
  const afterwards = await ctx.db.transaction().execute(async (trx) => {
    const atMs = ctx.clock.wallMs();
    const inserted = await storeReceived(trx, { device, boot, sequence, atMs });
    if (inserted.numAffectedRows === 0n) return undefined;
    return handler(ctx, trx, envelope, payload as PayloadOf<OutboxName>);
  });
  ctx.ack(device, { boot, sequence });
  // The report is stored and not dropped: the next deadline or start takes the step that failed here.
  await afterwards?.().catch((error: unknown) => {
    ctx.log.error("what follows a report failed", { name, device, error: String(error) });
  });
}
