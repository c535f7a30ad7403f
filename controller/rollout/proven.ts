/**
 * Bundles that nobody may be offered for now, purely from attempts: devices of the rollout rolled them
 * back and none committed.
 */
import type { Database } from "../storage/database.ts";

export async function unprovenBundles(trx: Database, rollout: string): Promise<Set<string>> {
  const rows = await trx
    .selectFrom("attempts")
    .select(["bundleSha256", "outcome"])
    .where("rollout", "=", rollout)
    .where("outcome", "in", ["committed", "rolled-back"])
    .distinct()
    .execute();
  const bundlesThat = (wanted: string) =>
    rows.filter(({ outcome }) => outcome === wanted).map(({ bundleSha256 }) => bundleSha256);
  const committed = new Set(bundlesThat("committed"));
  return new Set(bundlesThat("rolled-back").filter((bundle) => !committed.has(bundle)));
}
