/**
 * The broker that comes with the controller: aedes behind TLS. It keeps nothing that matters; every
 * message that must arrive is acked by the controller itself.
 */
import { Duplex } from "node:stream";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { Aedes, type Client } from "aedes";
import { FleetError } from "../../shared/errors.ts";
import { messages } from "../../shared/protocol/registry.ts";
import { clientIdOf, mayPublish, maySubscribe, type Principal } from "./access.ts";
import { packetLimit } from "./packet-limit.ts";
import type { Broker, BrokerOptions } from "./port.ts";

/** CONNACK 4 and 5 of MQTT 3.1.1 §3.2.2.3: bad user name or password, not authorized. */
const badCredential = 4;
const notAuthorized = 5;
/** Longest packet: the longest message, its envelope and topic. */
const packetBytesMax = Math.max(...Object.values(messages).map(({ bytesMax }) => bytesMax)) + 4_096;
const connectionsMax = 20_000;
/** Sockets that have not said who they are; more are turned away, and come back by their backoff. */
const pendingMax = 2_000;
/** A client that does not finish its TLS handshake, or say CONNECT, within this is dropped, in ms. */
const connectTimeoutMs = 15_000;
/**
 * Longest silence that a client may ask for, in s; none at all is refused. The broker notices a dead
 * link after 1.5 times this (MQTT 3.1.1 §3.1.2.10), and a device counts as online until then.
 */
const keepaliveSecondsMax = 1_200;

interface Will {
  readonly topic: string;
  readonly retain?: boolean | undefined;
}

export async function startEmbeddedBroker(options: BrokerOptions): Promise<Broker> {
  const clients = new Map<string, Client>();
  /** As many as devices were let in, connected or not. */
  const heardAtMs = new Map<string, number>();
  const idOf = new WeakMap<object, string>();
  const hear = (connection: object) => {
    const id = idOf.get(connection);
    if (id !== undefined) heardAtMs.set(id, options.clock.wallMs());
  };
  const broker = await guardedBroker(options);
  broker.on("clientReady", (client) => {
    clients.set(client.id, client);
    idOf.set(client.conn, client.id);
    hear(client.conn);
  });
  broker.on("clientDisconnect", (client) => {
    if (clients.get(client.id) === client) clients.delete(client.id);
  });
  const sockets = new Set<TLSSocket>();
  const server = createServer(
    {
      cert: options.certPem,
      key: options.keyPem,
      minVersion: "TLSv1.2",
      handshakeTimeout: connectTimeoutMs,
    },
    (socket) => {
      if (sockets.size - clients.size >= pendingMax) {
        socket.destroy();
        return;
      }
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      const connection = limited(socket);
      socket.on("data", () => hear(connection));
      broker.handle(connection);
    },
  );
  server.maxConnections = connectionsMax;
  server.on("tlsClientError", (error) => options.log.debug("no TLS", { error: error.message }));
  await listen(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    connections: () => broker.connectedClients,
    isConnected: (clientId) => clients.has(clientId),
    heardAtMs: (clientId) => heardAtMs.get(clientId),
    disconnect: (clientId) => clients.get(clientId)?.close(),
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => broker.close(resolve));
    },
  };
}

/** Errors: `config-invalid` for an address or port that cannot be had. */
async function listen(server: Server, { host, port, log }: BrokerOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FleetError("config-invalid", `the broker cannot listen on ${host}: ${why}`, {
      cause,
    });
  });
  // A connection that could not be accepted, for want of file handles say, is no reason to end.
  server.on("error", (error) => log.error("a connection failed", { error: error.message }));
}

/** An aedes that asks access.ts about every connection, will, message and subscription. */
async function guardedBroker(options: BrokerOptions): Promise<Aedes> {
  const principals = new WeakMap<Client, Principal>();
  const wills = new WeakMap<Client, Will>();
  const refused = (principal: Principal | undefined, topic: string): Error => {
    if (principal !== undefined) options.onViolation(principal, topic);
    return new Error("this topic is not yours");
  };
  const mayWrite = (principal: Principal, { topic, retain }: Will) =>
    retain !== true && mayPublish(principal, topic, options.tenant);
  const broker = new Aedes({
    connectTimeout: connectTimeoutMs,
    concurrency: 1_000,
    maxClientsIdLength: 80,
    keepaliveLimit: keepaliveSecondsMax,
    preConnect(client, packet, done) {
      // What waits for those who are away would pile up in memory; births bring it anew.
      packet.clean = true;
      if (packet.will !== undefined) wills.set(client, packet.will);
      done(null, true);
    },
    authenticate(client, username, password, done) {
      void identify(options, client, username, password).then((principal) => {
        const refuse = (returnCode: number, why: string) =>
          done(Object.assign(new Error(why), { returnCode }), false);
        if (principal === undefined) return refuse(badCredential, "bad credential");
        const will = wills.get(client);
        if (will !== undefined && !mayWrite(principal, will)) {
          return refuse(notAuthorized, refused(principal, will.topic).message);
        }
        principals.set(client, principal);
        return done(null, true);
      });
    },
    // An error closes the connection; MQTT 3.1.1 §3.3.5 allows no other way to refuse a message.
    authorizePublish(client, packet, done) {
      const principal = client === null ? undefined : principals.get(client);
      const allowed = principal !== undefined && mayWrite(principal, packet);
      done(allowed ? null : refused(principal, packet.topic));
    },
    authorizeSubscribe(client, subscription, done) {
      const principal = principals.get(client);
      const allowed =
        principal !== undefined && maySubscribe(principal, subscription.topic, options.tenant);
      if (allowed) done(null, subscription);
      else done(refused(principal, subscription.topic));
    },
  });
  await broker.listen();
  return broker;
}

async function identify(
  options: BrokerOptions,
  client: Client,
  username: string | undefined,
  password: Buffer | undefined,
): Promise<Principal | undefined> {
  if (username === undefined || password === undefined) return undefined;
  try {
    const credential = { username, password: new Uint8Array(password), clientId: client.id };
    const principal = await options.authenticate(credential);
    return principal !== undefined && clientIdOf(principal) === client.id ? principal : undefined;
  } catch (error) {
    options.log.error("a credential could not be checked", { error: String(error) });
    return undefined;
  }
}

/** The socket with its input checked; a fault on either side ends both. */
function limited(socket: TLSSocket): Duplex {
  const input = packetLimit(packetBytesMax);
  socket.pipe(input);
  const both = Duplex.from({ readable: input, writable: socket });
  const end = () => {
    socket.destroy();
    both.destroy();
  };
  input.once("error", end);
  socket.once("error", end);
  socket.once("close", end);
  both.on("error", end);
  return both;
}
