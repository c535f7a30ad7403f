/**
 * Rollouts over a real database in memory: devices, versions with a bundle per class, and a controller
 * context whose sender only remembers what it was given. Time moves when a test says so.
 */
import type { ControllerContext } from "../../controller/context.ts";
import { parseClasses } from "../../controller/fleet/classes.ts";
import { onReported } from "../../controller/mqtt/handlers/reported.ts";
import { createEvidenceCache } from "../../controller/rollout/evidence/store.ts";
import { onAttemptOutcome } from "../../controller/rollout/outcome.ts";
import { type Database, openDatabase } from "../../controller/storage/database.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import { encodeBundle } from "../../shared/artifact/bundle.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import { FleetError } from "../../shared/errors.ts";
import type { Envelope } from "../../shared/protocol/message.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import { samplePayloads, sampleProfile } from "./sample-payloads.ts";

/** One class for each recipe, so that each class has a bundle of its own. */
const classes = parseClasses(`
classes:
  - { name: camera, summary: c, match: {}, budget: {}, recipes: [fp32], objective: size }
  - { name: meter, summary: m, match: {}, budget: {}, recipes: [int8], objective: size }
`);
const recipes = { camera: "fp32", meter: "int8" } as const;
type ClassName = keyof typeof recipes;

export const manifestTtlMs = 1_000_000;
export const model = "digits";

export interface RolloutWorld {
  readonly ctx: ControllerContext;
  readonly db: Database;
  /** Messages that were handed to the sender, oldest first. */
  readonly sent: { name: string; device: string; payload: unknown }[];
  readonly blobs: Map<string, Uint8Array>;
  passTime(ms: number): void;
  /** The controller is there again, just now. */
  restart(): void;
  addDevice(id: string, deviceClass: ClassName): Promise<void>;
  /** A version that both classes chose a variant of. */
  addVersion(version: string, name?: string): Promise<Record<ClassName, string>>;
  setStanding(device: string, standing: string): Promise<void>;
  setOnline(device: string, online: boolean): Promise<void>;
  /** The device is gone and nobody said so. */
  loseTouch(device: string): void;
  /** The device's report of what it serves, as its newest committed attempt left it. */
  reports(device: string, servingSha256: string, update?: Update): Promise<void>;
}

type Update = PayloadOf<"reported">["models"][string]["update"];

export const senderOf = (device: string) => ({ device }) as Envelope;

export async function rolloutWorld(): Promise<RolloutWorld> {
  const db = await openDatabase(openSystemSqlite(":memory:"), 0);
  const blobs = new Map<string, Uint8Array>();
  const sent: RolloutWorld["sent"] = [];
  let nowMs = 1_000;
  let startedAtMs = nowMs;
  let drawn = 0;
  const awaySinceMs = new Map<string, number>();
  // Nothing else of the context is used on these ways.
  const ctx = {
    db,
    get startedAtMs() {
      return startedAtMs;
    },
    clock: { wallMs: () => nowMs },
    random: { bytes: (count: number) => new Uint8Array(count).fill(++drawn), fraction: () => 0.5 },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    config: {
      tenant: "main",
      alphaDevice: 0.001,
      canarySoakMs: 0,
      alphaRollout: 0.01,
      rolloutApprovals: 0,
      manifestTtlMs,
      soakMs: 3_600_000,
      telemetryWindowMs: 60_000,
    },
    fleet: { classes, regions: [], recipes: [] },
    signingKey: generateKeyPair(),
    blobs: {
      async read(sha256: string) {
        const bytes = blobs.get(sha256);
        if (bytes === undefined) throw new FleetError("artifact-missing", `no ${sha256}`);
        return bytes;
      },
      async put(bytes: Uint8Array) {
        const sha256 = sha256Hex(bytes);
        blobs.set(sha256, bytes);
        return sha256;
      },
      size: async (sha256: string) => blobs.get(sha256)?.byteLength,
    },
    evidence: createEvidenceCache(),
    // Small rollouts are looked at with each answer.
    looks: {
      after: (_id: string, _devices: number, look: () => Promise<void>) => look(),
      isTime: () => true,
      stop() {},
    },
    // Who is there is heard of all the time.
    heardAtMs: (device: string) => awaySinceMs.get(device) ?? nowMs,
    publish: async (name: string, device: string, payload: unknown) => {
      sent.push({ name, device, payload });
    },
  } as unknown as ControllerContext;
  return {
    ctx,
    db,
    sent,
    blobs,
    passTime(ms) {
      nowMs += ms;
    },
    restart() {
      startedAtMs = nowMs;
    },
    addDevice: (id, deviceClass) => addDevice(db, id, deviceClass),
    addVersion: (version, name = model) => addVersion(db, blobs, { model: name, version }),
    async setStanding(device, standing) {
      await db.updateTable("devices").set({ standing }).where("id", "=", device).execute();
    },
    loseTouch(device) {
      awaySinceMs.set(device, nowMs);
    },
    async setOnline(device, online) {
      if (online) awaySinceMs.delete(device);
      else awaySinceMs.set(device, nowMs);
      const values = { online: online ? 1 : 0 };
      await db.updateTable("devices").set(values).where("id", "=", device).execute();
    },
    reports: (device, servingSha256, update = null) =>
      report({ ctx, db }, { device, servingSha256, update }),
  };
}

async function report(
  { ctx, db }: { ctx: ControllerContext; db: Database },
  options: { device: string; servingSha256: string; update: Update },
): Promise<void> {
  const { device, servingSha256, update } = options;
  const newest = await db
    .selectFrom("attempts")
    .select(["version", "recipe", "releaseCounter"])
    .where("device", "=", device)
    .where("outcome", "=", "committed")
    .orderBy("releaseCounter", "desc")
    .executeTakeFirst();
  const committed = newest === undefined ? null : { ...newest, bundleSha256: servingSha256 };
  const models = { [model]: { committed, servingSha256, releaseCounterHighest: 0, update } };
  await onReported(ctx, senderOf(device), {
    ...samplePayloads.reported,
    desiredRevision: 0,
    models,
  });
}

async function addDevice(db: Database, id: string, deviceClass: ClassName): Promise<void> {
  await db
    .insertInto("devices")
    .values({
      id,
      publicKeyJson: "{}",
      passwordSha256: "",
      region: "eu",
      labelsJson: "{}",
      deviceClass,
      profileJson: JSON.stringify(sampleProfile),
      fingerprint: "",
      emulated: 0,
      agentVersion: "0.3.0",
      standing: "active",
      standingReason: null,
      session: 1,
      boot: null,
      online: 1,
      lastSeenAtMs: null,
      desiredRevision: 0,
      reportedJson: null,
      createdAtMs: 0,
    })
    .execute();
}

async function addVersion(
  db: Database,
  blobs: Map<string, Uint8Array>,
  { model, version }: { model: string; version: string },
): Promise<Record<ClassName, string>> {
  const hashOf = (text: string) => sha256Hex(new TextEncoder().encode(text));
  await db
    .insertInto("modelVersions")
    .values({
      model,
      version,
      sourceSha256: hashOf(version),
      sourceBytes: 1,
      interfaceJson: "{}",
      poolSha256: hashOf("pool"),
      createdAtMs: 0,
    })
    .execute();
  const bundles = { camera: "", meter: "" };
  for (const deviceClass of ["camera", "meter"] as const) {
    const recipe = recipes[deviceClass];
    const file = new TextEncoder().encode(`${model} ${version} ${recipe}`);
    blobs.set(sha256Hex(file), file);
    const bundle = encodeBundle({
      schema: "fleetfit/bundle/1",
      model,
      version,
      files: [
        {
          role: "model",
          name: "model.onnx",
          sha256: sha256Hex(file),
          bytes: file.byteLength,
        },
      ],
      interface: {
        inputs: [{ tensor: "x", sample: { dtype: "float32", shape: [1] }, steps: [] }],
        output: { kind: "tensors", tensors: ["y"] },
      },
      thresholds: {},
      provenance: {
        sourceSha256: hashOf(version),
        recipe,
        recipeSha256: hashOf(recipe),
        seed: 1,
        runtime: "1.30.0",
        cpuFlags: [],
      },
    });
    blobs.set(bundle.sha256, bundle.bytes);
    bundles[deviceClass] = bundle.sha256;
    await db
      .insertInto("variants")
      .values({
        id: `${model}-${version}-${recipe}`,
        model,
        version,
        recipe,
        recipeSha256: hashOf(recipe),
        status: "ready",
        reason: null,
        bundleSha256: bundle.sha256,
        bundleBytes: bundle.bytes.byteLength,
        modelSha256: sha256Hex(file),
        modelBytes: file.byteLength,
        opset: 13,
        evaluationJson: null,
        createdAtMs: 0,
      })
      .execute();
    await db
      .insertInto("choices")
      .values({
        model,
        version,
        deviceClass,
        bundleSha256: bundle.sha256,
        recipe,
        reasonsJson: "[]",
        emulated: 0,
        createdAtMs: 0,
      })
      .execute();
  }
  return bundles;
}

/** Stores an outcome as the link does, and what follows the commit. */
export async function storeOutcome(
  { ctx, db }: RolloutWorld,
  device: string,
  payload: PayloadOf<"attempt-outcome">,
): Promise<void> {
  const afterwards = await db
    .transaction()
    .execute((trx) => onAttemptOutcome(ctx, trx, senderOf(device), payload));
  await afterwards?.();
}

/** What a device answers for its attempt, by default a commit of what it was offered. */
export function outcomePayload(
  attempt: { id: string; version: string; bundleSha256: string; releaseCounter: number },
  change: Partial<(typeof samplePayloads)["attempt-outcome"]> = {},
): (typeof samplePayloads)["attempt-outcome"] {
  return {
    ...samplePayloads["attempt-outcome"],
    attempt: attempt.id,
    model,
    version: attempt.version,
    bundleSha256: attempt.bundleSha256,
    releaseCounter: attempt.releaseCounter,
    outcome: "committed",
    code: "ok",
    why: "it answers",
    gates: [],
    servingSha256: attempt.bundleSha256,
    ...change,
  };
}
