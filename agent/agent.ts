/**
 * The whole agent from its ports: probe, enrol, connect, serve, update. Only main and tests call this.
 *
 * Invariants: the committed model serves before the first connection is tried, and whether or not it
 * ever succeeds; one agent per data folder.
 */

import { dirname } from "node:path";
import { profileFingerprint } from "../shared/devices/profile.ts";
import { FleetError } from "../shared/errors.ts";
import { writeFileAtomic } from "../shared/files/atomic-file.ts";
import type { Sqlite } from "../shared/ports/sqlite.ts";
import { decodeClaimToken } from "../shared/protocol/claim-token.ts";
import { trackProcesses } from "./children.ts";
import type { AgentConfig } from "./config.ts";
import type { AgentContext, AgentPorts } from "./context.ts";
import { enrol, storedIdentity } from "./enrol.ts";
import { createMessenger, type Messenger } from "./messenger.ts";
import { databasePath, lockPath, servingPath } from "./paths.ts";
import { int8Ratio } from "./probe/int8-ratio.ts";
import { powerReader } from "./probe/power.ts";
import { type Inventory, parseOverride, probe } from "./probe/probe.ts";
import { reportedState, type UpdateProgressView } from "./reported.ts";
import { createReports } from "./reports.ts";
import type { InferenceCall } from "./serving/call.ts";
import type { StartInferenceApi } from "./serving/http.ts";
import { createServing } from "./serving/serving.ts";
import { createTelemetry } from "./serving/telemetry.ts";
import { createSoaks } from "./soak/soaks.ts";
import { type AgentStore, openAgentStore } from "./state/store.ts";
import { hearTime } from "./time.ts";
import { mqttSource } from "./transfer/mqtt-source.ts";
import { createHolds } from "./update/holds.ts";
import { isOutcome, type UpdateState } from "./update/transitions.ts";
import { createUpdater, type Updater } from "./update/updater.ts";
import { createWaitingRoom } from "./update/waiting-room.ts";
import { agentVersion } from "./version.ts";

export interface RunningAgent {
  readonly device: string;
  readonly serveUrl: string;
  stop(): Promise<void>;
}

const bootBytes = 8;
const inventoryKey = "inventorySent";

/** What only the whole agent needs: facts of the machine, and the way its own software asks it. */
export interface AgentSurroundings {
  readonly inventory: Inventory;
  readonly startInferenceApi: StartInferenceApi;
}

export async function runAgent(
  ports: AgentPorts & AgentSurroundings,
  config: AgentConfig,
): Promise<RunningAgent> {
  const { dataDir } = config;
  await ports.files.makeDirectory(dataDir);
  const lock = takeLock(ports, dataDir);
  const processes = trackProcesses(ports.processes);
  let store: AgentStore | undefined;
  const release = () => {
    processes.killAll();
    store?.close();
    lock.close();
  };
  try {
    store = openAgentStore(ports.openSqlite(databasePath(dataDir)));
    await ports.files.syncDirectory(dataDir);
    await ports.files.syncDirectory(dirname(dataDir));
    const context = await identify({ ...ports, processes }, config, store);
    const serving = createServing(context);
    await serving.start();
    return await assemble({ context, config, serving, surroundings: ports, release });
  } catch (error) {
    release();
    throw error;
  }
}

/** Holds a write lock in a database of its own; the system drops it with the process. */
function takeLock(ports: AgentPorts, dataDir: string): Sqlite {
  const lock = ports.openSqlite(lockPath(dataDir));
  try {
    lock.exec("begin exclusive");
  } catch (cause) {
    lock.close();
    throw new FleetError("conflict", `another agent runs on ${dataDir}`, { cause });
  }
  return lock;
}

/** The identity of this device: stored, or got with the claim token. */
async function identify(
  ports: AgentPorts & { inventory: Inventory },
  config: AgentConfig,
  store: AgentStore,
): Promise<AgentContext> {
  const override = config.profileOverride && parseOverride(config.profileOverride);
  const probed = await probe({ ...ports, dataDir: config.dataDir, override });
  const fingerprint = profileFingerprint(probed);
  const int8ToFloat32Ratio = await int8Ratio(ports, store, fingerprint);
  const profile = { ...probed, int8ToFloat32Ratio };
  const boot = Buffer.from(ports.random.bytes(bootBytes)).toString("hex");
  let identity = storedIdentity(store);
  if (identity === undefined) {
    if (config.claimToken === undefined) {
      throw new FleetError(
        "claim-invalid",
        "this device is not enrolled: start it with --claim FILE",
      );
    }
    const claim = decodeClaimToken(config.claimToken);
    identity = await enrol(ports, store, { claim, profile, boot });
  }
  return {
    ...ports,
    log: ports.log.child({ device: identity.device }),
    dataDir: config.dataDir,
    store,
    identity,
    boot,
    profile,
    readPower: powerReader(ports.files, { probed, override }),
    emulated: profile.emulated,
    fingerprint,
    agentVersion,
    heardTime: { last: undefined },
  };
}

async function assemble(parts: {
  context: AgentContext;
  config: AgentConfig;
  serving: ReturnType<typeof createServing>;
  surroundings: AgentSurroundings;
  /** Frees what `runAgent` holds: children, database, lock. */
  release: () => void;
}): Promise<RunningAgent> {
  const { context, config, serving, surroundings } = parts;
  const updates = new Map<string, UpdateProgressView>();
  let updater: Updater | undefined;
  const holds = createHolds(context);
  const reports = createReports(context, {
    read: () =>
      reportedState(context, {
        serving,
        holds: holds.reported(),
        updates,
        desiredRevision: updater?.desiredRevision() ?? -1,
      }),
    say: (state) => void messenger.send("reported", state),
  });
  const source = mqttSource(context, (payload) => messenger.send("artifact-request", payload));
  const messenger: Messenger = createMessenger({
    context,
    handlers: {
      desired(desired, envelope) {
        hearTime(context, envelope);
        telemetry.setWindow(desired.telemetry.windowMs);
        updater?.setDesired(desired, envelope.boot);
        reports.note();
      },
      hold(message) {
        holds.receive(message.holds);
        reports.note();
      },
      labels: (payload) => soaks.receiveLabels(payload),
      "artifact-block": source.onBlock,
      "artifact-refused": source.onRefused,
    },
    onConnected: holds.connected,
    onPresent: reports.again,
  });
  const telemetry = createTelemetry(context, messenger);
  const soaks = createSoaks({ context, messenger, serving });
  updater = createUpdater({
    context,
    messenger,
    serving,
    source,
    holds,
    waitingRoom: createWaitingRoom(context, holds),
    soaks,
    onnxruntime: surroundings.inventory.onnxruntime,
    onProgress(attempt, state, progressFraction, waiting) {
      if (isOutcome(state as UpdateState)) updates.delete(attempt);
      else updates.set(attempt, { state, progressFraction, waiting: waiting ?? null });
      if (updates.has(attempt) && waiting === undefined) reports.progressed();
      else reports.note();
    },
  });
  serving.onChange(reports.note);
  serving.onCrash(soaks.crashed);
  sendInventory(context, messenger);
  const record = (call: InferenceCall) => {
    telemetry.record(call);
    soaks.record(call);
  };
  const port = config.servePort;
  const api = await surroundings.startInferenceApi({ context, serving, record, port });
  await announce(context, api.url);
  messenger.start();
  soaks.start();
  updater.start();
  return {
    device: context.identity.device,
    serveUrl: api.url,
    async stop() {
      await api.stop();
      await updater.stop();
      await soaks.stop();
      reports.stop();
      telemetry.stop();
      await messenger.stop();
      await serving.stop();
      parts.release();
    },
  };
}

/** Tells programs on this device where the model is served. */
async function announce({ files, dataDir, identity }: AgentContext, url: string): Promise<void> {
  const text = JSON.stringify({ url, device: identity.device });
  await writeFileAtomic(files, servingPath(dataDir), new TextEncoder().encode(text));
}

/** Stores the profile for the controller when it is not the one that was stored last. */
function sendInventory(context: AgentContext, messenger: Messenger): void {
  const mark = `${context.fingerprint}/${context.agentVersion}`;
  if (context.store.setting(inventoryKey) === mark) return;
  context.store.transaction(() => {
    messenger.enqueue("inventory", {
      profile: context.profile,
      agentVersion: context.agentVersion,
    });
    context.store.setSetting(inventoryKey, mark);
  });
}
