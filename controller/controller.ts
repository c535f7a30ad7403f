/**
 * The whole controller from its ports. Only main and tests call this; it starts parts in order and
 * stops them in reverse.
 */
import { join } from "node:path";
import type { KeyPair } from "../shared/artifact/signature.ts";
import { writeFileAtomic } from "../shared/files/atomic-file.ts";
import { createPacer } from "./artifacts/pacer.ts";
import { requireWholeFolder } from "./backup/restore-marker.ts";
import { blobStore } from "./blobs/blob-store.ts";
import type { Broker } from "./broker/port.ts";
import type { ControllerConfig } from "./config.ts";
import type { ControllerContext, ControllerPorts } from "./context.ts";
import { reclassify } from "./fleet/devices.ts";
import { loadFleetConfig } from "./fleet/load.ts";
import { startHttp } from "./http/server.ts";
import { createJobs } from "./jobs/queue.ts";
import { createLink } from "./mqtt/link.ts";
import { advanceAllRollouts } from "./rollout/service.ts";
import { openDatabase } from "./storage/database.ts";
import { recordEvent } from "./storage/events/repository.ts";
import { openAuthority } from "./trust/authority.ts";
import { hashText } from "./trust/claims.ts";
import { principalOf } from "./trust/credentials.ts";

export interface RunningController {
  readonly mqttUrl: string;
  readonly httpUrl: string;
  readonly ctx: ControllerContext;
  stop(): Promise<void>;
}

/** How often deadlines of rollouts are looked at. */
const tickMs = 60_000;
const secretBytes = 32;

export async function runController(
  ports: ControllerPorts,
  config: ControllerConfig,
): Promise<RunningController> {
  const { files, clock, random, log } = ports;
  await files.makeDirectory(config.dataDir);
  await requireWholeFolder(files, config.dataDir);
  const sqlite = ports.openSqlite(join(config.dataDir, "controller.db"));
  const db = await openDatabase(sqlite, clock.wallMs());
  const authority = await openAuthority(files, random, {
    directory: join(config.dataDir, "keys"),
    hostNames: config.publicNames,
  });
  const secret = Buffer.from(random.bytes(secretBytes)).toString("base64url");
  const secretSha256 = hashText(secret);
  const broker: Broker = await ports.startBroker({
    host: config.host,
    port: config.mqttPort,
    certPem: authority.serverCertPem,
    keyPem: authority.serverKeyPem,
    tenant: config.tenant,
    log,
    authenticate: (credential) => principalOf(db, secretSha256, credential),
    onViolation(principal, topic) {
      const subject = principal.kind === "controller" ? "controller" : principal.id;
      const message = `tried ${topic.slice(0, 200)}`;
      void recordEvent(db, { atMs: clock.wallMs(), kind: "topic-foreign", subject, message }).catch(
        () => {},
      );
    },
  });
  const mqttUrl = `mqtts://${config.publicNames[0]}:${broker.port}`;
  const link = createLink({
    ctx: () => ctx,
    ports,
    tenant: config.tenant,
    url: `mqtts://${config.publicNames[0]}:${broker.port}`,
    caPem: authority.caPem,
    secret,
  });
  const ctx: ControllerContext = {
    ...ports,
    config,
    db,
    sqlite,
    blobs: blobStore(files, join(config.dataDir, "blobs")),
    fleet: await loadFleetConfig(files, config.configDir),
    signingKey: authority.signingKey satisfies KeyPair,
    caPem: authority.caPem,
    mqttUrl,
    publish: link.publish,
    pace: createPacer(clock, config.transferBytesPerSecond),
    disconnect: broker.disconnect,
  };
  return start({ ctx, link, broker });
}

async function start(parts: {
  ctx: ControllerContext;
  link: ReturnType<typeof createLink>;
  broker: Broker;
}): Promise<RunningController> {
  const { ctx, link, broker } = parts;
  const { config, files, clock } = ctx;
  // Nobody is connected to a broker that has just started.
  await ctx.db.updateTable("devices").set({ online: 0 }).execute();
  await reclassify(ctx);
  const jobs = createJobs(ctx);
  await jobs.start();
  link.start();
  const http = await startHttp({ ctx, jobs }, { host: config.host, port: config.httpPort });
  let cancelTick = () => {};
  const tick = () => {
    cancelTick = clock.after(tickMs, () => {
      advanceAllRollouts(ctx)
        .catch((error: unknown) =>
          ctx.log.error("rollouts could not advance", { error: String(error) }),
        )
        .finally(tick);
    });
  };
  await advanceAllRollouts(ctx);
  tick();
  const addresses = { httpUrl: http.url, mqttUrl: ctx.mqttUrl };
  await announce(files, config, addresses);
  return {
    ...addresses,
    ctx,
    async stop() {
      cancelTick();
      await http.stop();
      await jobs.stop();
      await link.stop();
      await broker.stop();
      await ctx.db.destroy();
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
