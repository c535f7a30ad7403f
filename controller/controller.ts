/**
 * The whole controller from its ports. Only main and tests call this; it starts parts in order and
 * stops them in reverse.
 */
import { join } from "node:path";
import { FleetError } from "../shared/errors.ts";
import { writeFileAtomic } from "../shared/files/atomic-file.ts";
import type { Sqlite } from "../shared/ports/sqlite.ts";
import { createBlockQueue } from "./artifacts/block-queue.ts";
import { createPacer } from "./artifacts/pacer.ts";
import { requireWholeFolder } from "./backup/restore-marker.ts";
import { blobStore } from "./blobs/blob-store.ts";
import type { Broker } from "./broker/port.ts";
import type { ControllerConfig } from "./config.ts";
import type { ControllerContext, ControllerPorts } from "./context.ts";
import { keepDeadlines } from "./deadlines.ts";
import { reclassify } from "./fleet/devices.ts";
import { loadFleetConfig } from "./fleet/load.ts";
import type { StartHttp } from "./http/server.ts";
import { createJobs } from "./jobs/queue.ts";
import { createFaultLog, type NoteFault } from "./mqtt/fault-log.ts";
import { createGate, type Gate } from "./mqtt/gate.ts";
import { createLink } from "./mqtt/link.ts";
import { keepHouse } from "./retention/housekeeping.ts";
import { createEvidenceCache } from "./rollout/evidence/store.ts";
import { createLooks } from "./rollout/looks.ts";
import { type Database, openDatabase } from "./storage/database.ts";
import { recordEvent } from "./storage/events/repository.ts";
import { type Authority, openAuthority } from "./trust/authority.ts";
import { hashText } from "./trust/claims.ts";
import { principalOf } from "./trust/credentials.ts";

export interface RunningController {
  readonly mqttUrl: string;
  readonly httpUrl: string;
  readonly ctx: ControllerContext;
  stop(): Promise<void>;
}

/** How often deadlines and soaks of rollouts are looked at. */
const tickMs = 10_000;
const secretBytes = 32;

export async function runController(
  { startHttp, ...ports }: ControllerPorts & { readonly startHttp: StartHttp },
  config: ControllerConfig,
): Promise<RunningController> {
  const { files, clock, random } = ports;
  await files.makeDirectory(config.dataDir);
  await requireWholeFolder(files, config.dataDir);
  const fleet = await loadFleetConfig(files, config.configDir);
  const lock = takeLock(ports, config.dataDir);
  const sqlite = ports.openSqlite(join(config.dataDir, "controller.db"));
  const db = await openDatabase(sqlite, clock.wallMs());
  const ownAddress = addressOf(config.host);
  const authority = await openAuthority(files, random, {
    directory: join(config.dataDir, "keys"),
    hostNames: [...new Set([...config.publicNames, ownAddress])],
  });
  const noteFault = createFaultLog({ clock, record: (event) => recordEvent(db, event) });
  const gate = createGate();
  const secret = Buffer.from(random.bytes(secretBytes)).toString("base64url");
  const broker = await openBroker(ports, { config, db, authority, secret, gate, noteFault });
  const link = createLink({
    ctx: () => ctx,
    ports,
    tenant: config.tenant,
    url: mqttUrlOf(ownAddress, broker.port),
    caPem: authority.caPem,
    secret,
    gate,
  });
  const ctx: ControllerContext = {
    ...ports,
    config,
    startedAtMs: clock.wallMs(),
    db,
    sqlite,
    fleet,
    blobs: blobStore(files, join(config.dataDir, "blobs")),
    signingKey: authority.signingKey,
    caPem: authority.caPem,
    mqttUrl: mqttUrlOf(config.publicNames[0] ?? ownAddress, broker.port),
    publish: link.publish,
    ack: link.ack,
    noteFault,
    blockQueue: createBlockQueue({
      pace: createPacer(clock, config.transferBytesPerSecond),
      onError: (device, error) =>
        ports.log.error("a block could not be sent", { device, error: String(error) }),
    }),
    evidence: createEvidenceCache(),
    looks: createLooks(ports),
    isConnected: broker.isConnected,
    heardAtMs: broker.heardAtMs,
    disconnect: broker.disconnect,
  };
  return start({ ctx, link, broker, lock, startHttp });
}

/** Holds a write lock in a database of its own; the system drops it with the process. */
function takeLock(ports: ControllerPorts, dataDir: string): Sqlite {
  const lock = ports.openSqlite(join(dataDir, "controller.lock"));
  try {
    lock.exec("begin exclusive");
  } catch (cause) {
    lock.close();
    throw new FleetError("conflict", `another controller runs on ${dataDir}`, { cause });
  }
  return lock;
}

/** A broker that lets devices in only while the controller listens to them. */
function openBroker(
  { startBroker, log, clock }: ControllerPorts,
  parts: {
    config: ControllerConfig;
    db: Database;
    authority: Authority;
    secret: string;
    gate: Gate;
    noteFault: NoteFault;
  },
): Promise<Broker> {
  const { config, db, authority, gate, noteFault } = parts;
  const secretSha256 = hashText(parts.secret);
  return startBroker({
    host: config.host,
    port: config.mqttPort,
    certPem: authority.serverCertPem,
    keyPem: authority.serverKeyPem,
    tenant: config.tenant,
    log,
    clock,
    async authenticate(credential) {
      const principal = await principalOf(db, secretSha256, credential);
      if (principal !== undefined && principal.kind !== "controller") await gate.passage();
      return principal;
    },
    onViolation(principal, topic) {
      const subject = principal.kind === "controller" ? "controller" : principal.id;
      const message = `tried ${topic}`;
      const fault = {
        kind: "topic-foreign",
        subject,
        code: "topic-foreign",
        message,
        topic,
      } as const;
      void noteFault(fault).catch((error: unknown) =>
        log.error("a fault was not stored", { error: String(error) }),
      );
    },
  });
}

/** Where this machine reaches its own listener. */
function addressOf(host: string): string {
  return host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
}

function mqttUrlOf(host: string, port: number): string {
  return `mqtts://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

async function start(parts: {
  ctx: ControllerContext;
  link: ReturnType<typeof createLink>;
  broker: Broker;
  lock: Sqlite;
  startHttp: StartHttp;
}): Promise<RunningController> {
  const { ctx, link, broker, lock } = parts;
  const { config, files, clock } = ctx;
  // Nobody is connected to a broker that has just started.
  await ctx.db.updateTable("devices").set({ online: 0 }).execute();
  await reclassify(ctx);
  const jobs = createJobs(ctx);
  await jobs.start();
  link.start();
  const http = await parts.startHttp({ ctx, jobs }, { host: config.host, port: config.httpPort });
  let cancelTick = () => {};
  const tick = () => {
    cancelTick = clock.after(tickMs, () => {
      keepDeadlines(ctx)
        .catch((error: unknown) =>
          ctx.log.error("deadlines could not be kept", { error: String(error) }),
        )
        .finally(tick);
    });
  };
  await keepDeadlines(ctx);
  tick();
  const stopHousekeeping = keepHouse(ctx);
  const addresses = { httpUrl: http.url, mqttUrl: ctx.mqttUrl };
  await announce(files, config, addresses);
  return {
    ...addresses,
    ctx,
    async stop() {
      cancelTick();
      await stopHousekeeping();
      ctx.looks.stop();
      await http.stop();
      await jobs.stop();
      await ctx.blockQueue.stop();
      await link.stop();
      await broker.stop();
      await ctx.db.destroy();
      lock.close();
    },
  };
}

/** Tells programs on this machine where the controller is, and backups where its settings are. */
async function announce(
  files: ControllerPorts["files"],
  { dataDir, configDir }: ControllerConfig,
  addresses: { httpUrl: string; mqttUrl: string },
): Promise<void> {
  const text = JSON.stringify({ ...addresses, ...(configDir !== undefined && { configDir }) });
  const path = join(dataDir, "controller.json");
  await writeFileAtomic(files, path, new TextEncoder().encode(text));
}
