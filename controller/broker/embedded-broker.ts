/**
 * The broker that comes with the controller: aedes behind TLS. It keeps nothing that matters; every
 * message that must arrive is acked by the controller itself.
 */
import { Duplex } from "node:stream";
import { createServer, type TLSSocket } from "node:tls";
import { Aedes, type Client } from "aedes";
import { messages } from "../../shared/protocol/registry.ts";
import { clientIdOf, mayPublish, maySubscribe, type Principal } from "./access.ts";
import { packetLimit } from "./packet-limit.ts";
import type { Broker, BrokerOptions } from "./port.ts";

/** CONNACK 4 of MQTT 3.1.1 §3.2.2.3: bad user name or password. */
const badCredential = 4;
/** Longest packet: the longest message, its envelope and topic. */
const packetBytesMax = Math.max(...Object.values(messages).map(({ bytesMax }) => bytesMax)) + 4_096;
const connectionsMax = 20_000;
/** A client that does not say CONNECT within this is dropped, in ms. */
const connectTimeoutMs = 15_000;

export async function startEmbeddedBroker(options: BrokerOptions): Promise<Broker> {
  const principals = new WeakMap<Client, Principal>();
  const clients = new Map<string, Client>();
  const broker = new Aedes({
    connectTimeout: connectTimeoutMs,
    concurrency: 1_000,
    maxClientsIdLength: 80,
    authenticate(client, username, password, done) {
      void identify(options, client, username, password).then((principal) => {
        if (principal === undefined) {
          done(Object.assign(new Error("bad credential"), { returnCode: badCredential }), false);
          return;
        }
        principals.set(client, principal);
        done(null, true);
      });
    },
    authorizePublish(client, packet, done) {
      const principal = client === null ? undefined : principals.get(client);
      const allowed =
        principal !== undefined &&
        !packet.retain &&
        mayPublish(principal, packet.topic, options.tenant);
      if (!allowed && principal !== undefined) options.onViolation(principal, packet.topic);
      done(allowed ? null : new Error("this topic is not yours"));
    },
    authorizeSubscribe(client, subscription, done) {
      const principal = principals.get(client);
      const allowed =
        principal !== undefined && maySubscribe(principal, subscription.topic, options.tenant);
      if (!allowed && principal !== undefined) options.onViolation(principal, subscription.topic);
      done(null, allowed ? subscription : null);
    },
  });
  await broker.listen();
  broker.on("clientReady", (client) => clients.set(client.id, client));
  broker.on("clientDisconnect", (client) => {
    if (clients.get(client.id) === client) clients.delete(client.id);
  });
  const sockets = new Set<TLSSocket>();
  const server = createServer(
    { cert: options.certPem, key: options.keyPem, minVersion: "TLSv1.2" },
    (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      broker.handle(limited(socket));
    },
  );
  server.maxConnections = connectionsMax;
  server.on("tlsClientError", (error) => options.log.debug("no TLS", { error: error.message }));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    connections: () => broker.connectedClients,
    disconnect: (clientId) => clients.get(clientId)?.close(),
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => broker.close(resolve));
    },
  };
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
