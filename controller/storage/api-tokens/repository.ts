/** Tokens of the HTTP API, stored as hashes only. */
import type { Database } from "../database.ts";

export async function insertToken(
  db: Database,
  token: { id: string; name: string; tokenSha256: string; createdAtMs: number },
): Promise<void> {
  await db
    .insertInto("apiTokens")
    .values({ ...token, revokedAtMs: null })
    .execute();
}

/** Name of the live token with this hash. */
export async function findToken(db: Database, tokenSha256: string): Promise<string | undefined> {
  const row = await db
    .selectFrom("apiTokens")
    .select("name")
    .where("tokenSha256", "=", tokenSha256)
    .where("revokedAtMs", "is", null)
    .executeTakeFirst();
  return row?.name;
}

/** Oldest first, without hashes. */
export function listTokens(db: Database) {
  return db
    .selectFrom("apiTokens")
    .select(["id", "name", "createdAtMs", "revokedAtMs"])
    .orderBy("createdAtMs")
    .orderBy("id")
    .execute();
}

export async function revokeToken(db: Database, id: string, revokedAtMs: number): Promise<void> {
  await db.updateTable("apiTokens").set({ revokedAtMs }).where("id", "=", id).execute();
}
