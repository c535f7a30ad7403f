/** First schema. Breaking: no older program exists. Never edited after a release. */
import type { Kysely } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0001: Migration = {
  number: 1,
  name: "first-schema",
  async up(db) {
    await createIdentityTables(db);
    await createModelTables(db);
    await createVariantTables(db);
    await createWorkTables(db);
    await createRolloutTables(db);
    await createUplinkTables(db);
    await createIndexes(db);
  },
};

async function createIdentityTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("settings")
    .addColumn("key", "text", (column) => column.primaryKey().notNull())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("apiTokens")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("tokenSha256", "text", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("revokedAtMs", "integer")
    .execute();
  await db.schema
    .createTable("claims")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("secretSha256", "text", (column) => column.notNull())
    .addColumn("deviceName", "text")
    .addColumn("region", "text", (column) => column.notNull())
    .addColumn("labelsJson", "text", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("expiresAtMs", "integer", (column) => column.notNull())
    .addColumn("usedAtMs", "integer")
    .addColumn("usedByDevice", "text")
    .addColumn("usedByKeyId", "text")
    .execute();
  await db.schema
    .createTable("devices")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("publicKeyJson", "text", (column) => column.notNull())
    .addColumn("passwordSha256", "text", (column) => column.notNull())
    .addColumn("region", "text", (column) => column.notNull())
    .addColumn("labelsJson", "text", (column) => column.notNull())
    .addColumn("deviceClass", "text")
    .addColumn("profileJson", "text", (column) => column.notNull())
    .addColumn("fingerprint", "text", (column) => column.notNull())
    .addColumn("emulated", "integer", (column) => column.notNull())
    .addColumn("agentVersion", "text", (column) => column.notNull())
    .addColumn("standing", "text", (column) => column.notNull())
    .addColumn("standingReason", "text")
    .addColumn("session", "integer", (column) => column.notNull())
    .addColumn("boot", "text")
    .addColumn("online", "integer", (column) => column.notNull())
    .addColumn("lastSeenAtMs", "integer")
    .addColumn("desiredRevision", "integer", (column) => column.notNull())
    .addColumn("reportedJson", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("deviceBoots")
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("boot", "text", (column) => column.notNull())
    .addColumn("sessionFirst", "integer", (column) => column.notNull())
    .addColumn("sessionLast", "integer", (column) => column.notNull())
    .addColumn("firstSeenAtMs", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("deviceBootsKey", ["device", "boot"])
    .execute();
  await db.schema
    .createTable("devicePlacements")
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("sinceMs", "integer", (column) => column.notNull())
    .addColumn("region", "text", (column) => column.notNull())
    .addColumn("labelsJson", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("devicePlacementsKey", ["device", "sinceMs"])
    .execute();
}

async function createModelTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("blobs")
    .addColumn("sha256", "text", (column) => column.primaryKey().notNull())
    .addColumn("bytes", "integer", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("models")
    .addColumn("name", "text", (column) => column.primaryKey().notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("goldenSets")
    .addColumn("poolSha256", "text", (column) => column.primaryKey().notNull())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("samples", "integer", (column) => column.notNull())
    .addColumn("metric", "text", (column) => column.notNull())
    .addColumn("filesJson", "text", (column) => column.notNull())
    .addColumn("splitJson", "text", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("goldenShards")
    .addColumn("poolSha256", "text", (column) => column.notNull())
    .addColumn("shardIndex", "integer", (column) => column.notNull())
    .addColumn("sha256", "text", (column) => column.notNull())
    .addColumn("bytes", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("goldenShardsKey", ["poolSha256", "shardIndex"])
    .execute();
  await db.schema
    .createTable("shardUses")
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("poolSha256", "text", (column) => column.notNull())
    .addColumn("shardIndex", "integer", (column) => column.notNull())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("purpose", "text", (column) => column.notNull())
    .addColumn("usedAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("modelVersions")
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("sourceSha256", "text", (column) => column.notNull())
    .addColumn("sourceBytes", "integer", (column) => column.notNull())
    .addColumn("interfaceJson", "text", (column) => column.notNull())
    .addColumn("poolSha256", "text", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("modelVersionsKey", ["model", "version"])
    .execute();
}

async function createVariantTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("variants")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("recipe", "text", (column) => column.notNull())
    .addColumn("recipeSha256", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("reason", "text")
    .addColumn("bundleSha256", "text")
    .addColumn("bundleBytes", "integer")
    .addColumn("modelSha256", "text")
    .addColumn("modelBytes", "integer")
    .addColumn("opset", "integer")
    .addColumn("evaluationJson", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addUniqueConstraint("variantsRecipe", ["model", "version", "recipe"])
    .execute();
  await db.schema
    .createTable("referenceOutputs")
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("shardSha256", "text", (column) => column.notNull())
    .addColumn("sha256", "text", (column) => column.notNull())
    .addColumn("bytes", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("referenceOutputsKey", ["bundleSha256", "shardSha256"])
    .execute();
  await db.schema
    .createTable("facts")
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("fingerprint", "text", (column) => column.notNull())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("metric", "text", (column) => column.notNull())
    .addColumn("value", "real", (column) => column.notNull())
    .addColumn("low", "real")
    .addColumn("high", "real")
    .addColumn("n", "integer", (column) => column.notNull())
    .addColumn("emulated", "integer", (column) => column.notNull())
    .addColumn("degraded", "integer", (column) => column.notNull())
    .addColumn("measuredAtMs", "integer", (column) => column.notNull())
    .execute();
}

async function createWorkTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("measurements")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("deviceClass", "text", (column) => column.notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("manifestJson", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("failureJson", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("finishedAtMs", "integer")
    .execute();
  await db.schema
    .createTable("choices")
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("deviceClass", "text", (column) => column.notNull())
    .addColumn("bundleSha256", "text")
    .addColumn("recipe", "text")
    .addColumn("reasonsJson", "text", (column) => column.notNull())
    .addColumn("emulated", "integer", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("choicesKey", ["model", "version", "deviceClass"])
    .execute();
  await db.schema
    .createTable("jobs")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("inputJson", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("progressFraction", "real", (column) => column.notNull())
    .addColumn("message", "text", (column) => column.notNull())
    .addColumn("resultJson", "text")
    .addColumn("errorJson", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("startedAtMs", "integer")
    .addColumn("finishedAtMs", "integer")
    .execute();
}

async function createRolloutTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("releaseCounters")
    .addColumn("model", "text", (column) => column.primaryKey().notNull())
    .addColumn("counter", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("rollouts")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("reason", "text")
    .addColumn("stateJson", "text", (column) => column.notNull())
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("updatedAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("attempts")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("rollout", "text", (column) => column.notNull())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("recipe", "text", (column) => column.notNull())
    .addColumn("stage", "integer", (column) => column.notNull())
    .addColumn("arm", "text", (column) => column.notNull())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("releaseCounter", "integer", (column) => column.notNull())
    .addColumn("manifestJson", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("outcome", "text")
    .addColumn("code", "text")
    .addColumn("why", "text")
    .addColumn("gatesJson", "text")
    .addColumn("servingSha256", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("decidedAtMs", "integer")
    .addUniqueConstraint("attemptsOnce", ["rollout", "device", "model"])
    .execute();
  await db.schema
    .createTable("desiredModels")
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("attempt", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("desiredModelsKey", ["device", "model"])
    .execute();
}

async function createUplinkTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("received")
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("boot", "text", (column) => column.notNull())
    .addColumn("sequence", "integer", (column) => column.notNull())
    .addColumn("receivedAtMs", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("receivedKey", ["device", "boot", "sequence"])
    .execute();
  await db.schema
    .createTable("telemetryWindows")
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("region", "text", (column) => column.notNull())
    .addColumn("deviceClass", "text")
    .addColumn("startedAtMs", "real", (column) => column.notNull())
    .addColumn("durationMs", "real", (column) => column.notNull())
    .addColumn("ok", "integer", (column) => column.notNull())
    .addColumn("errors", "integer", (column) => column.notNull())
    .addColumn("timeouts", "integer", (column) => column.notNull())
    .addColumn("histogramJson", "text", (column) => column.notNull())
    .addColumn("ramPeakBytes", "integer")
    .addColumn("emulated", "integer", (column) => column.notNull())
    .addColumn("receivedAtMs", "integer", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("events")
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("atMs", "integer", (column) => column.notNull())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("subject", "text", (column) => column.notNull())
    .addColumn("message", "text", (column) => column.notNull())
    .addColumn("dataJson", "text", (column) => column.notNull())
    .execute();
}

async function createIndexes(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createIndex("factsBundle")
    .on("facts")
    .columns(["bundleSha256", "metric"])
    .execute();
  await db.schema
    .createIndex("attemptsDevice")
    .on("attempts")
    .columns(["device", "status"])
    .execute();
  await db.schema
    .createIndex("windowsRegion")
    .on("telemetryWindows")
    .columns(["model", "receivedAtMs"])
    .execute();
  await db.schema.createIndex("eventsSubject").on("events").columns(["subject", "id"]).execute();
}
