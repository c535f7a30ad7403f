/** The ledger: it only grows, says each thing once, and every decision can be computed again from it. */
import { readFileSync } from "node:fs";
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { EvidenceEntry } from "../../../../controller/rollout/evidence/entry.ts";
import {
  decide,
  ledgerBodySchema,
  replay,
} from "../../../../controller/rollout/evidence/ledger.ts";
import { defaultRules, type EvidenceRules } from "../../../../controller/rollout/evidence/rules.ts";
import {
  addDecision,
  addEntries,
  createEvidenceCache,
  ledgerRows,
  openLedger,
} from "../../../../controller/rollout/evidence/store.ts";
import { openDatabase } from "../../../../controller/storage/database.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";

const stratum = "eu/camera";
const rules: EvidenceRules = { ...defaultRules, strata: [stratum] };
const rollout = "r-1";
const standing = { open: 0, shareAfterNext: 1, overdue: true, excluded: [] };

const trial = (at: number): EvidenceEntry => {
  return {
    kind: "trial",
    device: `d-${at}`,
    stratum,
    result: at % 5 === 0 ? "rolled-back" : "passed",
  };
};
const pair = (at: number, drop: number): EvidenceEntry => {
  const signal = "golden-metric";
  return { kind: "pair", pair: `p-${at}`, stratum, signal, horizon: 0, drop, shard: null };
};

async function ledger() {
  const db = await openDatabase(openSystemSqlite(":memory:"), 0);
  await openLedger(db, rollout, rules, 1);
  return db;
}

describe("the ledger", () => {
  it("numbers its rows and says each thing once", async () => {
    const db = await ledger();
    await addEntries(db, rollout, [trial(1), pair(1, 0.01)], 2);
    await addEntries(db, rollout, [pair(1, 0.9), trial(2), trial(1)], 3);
    await openLedger(db, rollout, { ...rules, alphaRollout: 0.5 }, 4);
    const rows = await ledgerRows(db, rollout);
    expect(rows.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3]);
    expect(rows[0]?.body).toEqual({ kind: "rules", rules });
    expect(rows[2]?.body).toMatchObject({ drop: 0.01 });
    expect(await ledgerRows(db, rollout, { after: 1, limit: 1 })).toEqual([rows[2]]);
  });
  it.each(["update ledger set atMs = 0", "delete from ledger"])("refuses %s", async (change) => {
    const db = await ledger();
    await expect(sql.raw(change).execute(db)).rejects.toThrow("only grows");
    expect(await ledgerRows(db, rollout)).toHaveLength(1);
  });
  it("replays to the same values, and shows where it does not", async () => {
    const db = await ledger();
    const cache = createEvidenceCache();
    for (let at = 0; at < 20; at++) {
      await addEntries(db, rollout, [trial(at), pair(at, (at % 7) / 100)], at);
      const known = await cache.of(db, rollout);
      if (known === undefined || at % 4 !== 0) continue;
      const { decision } = decide(rules, known.evidence, { stage: 0, standing });
      await addDecision(db, rollout, decision, at);
    }
    const rows = await ledgerRows(db, rollout);
    const replayed = replay(rows);
    expect(replayed).toHaveLength(5);
    expect(replayed.filter(({ same }) => !same)).toEqual([]);
    const forged = rows.map((row) =>
      row.body.kind === "pair" && row.body.pair === "p-3"
        ? { ...row, body: { ...row.body, drop: 0.5 } }
        : row,
    );
    expect(replay(forged).map(({ same }) => same)).toEqual([true, false, false, false, false]);
  });
  it("of rules from before there were live signals comes to what it came to", () => {
    const file = new URL("../../../fixtures/ledger/rules-1.json", import.meta.url);
    const rows = z
      .array(z.object({ sequence: z.int(), body: ledgerBodySchema }))
      .parse(JSON.parse(readFileSync(file, "utf8")));
    const replayed = replay(rows);
    expect(replayed.map(({ stored }) => stored.verdict)).toEqual([
      "expand",
      "inconclusive",
      "roll-back",
    ]);
    for (const { stored, computed, same } of replayed) {
      // Its words are those of the version that wrote it.
      expect({ ...computed, why: stored.why }).toEqual(stored);
      expect(same).toBe(true);
    }
  });
  it("is read once and then only where it grew; a failed transaction is forgotten", async () => {
    const db = await ledger();
    const cache = createEvidenceCache();
    await addEntries(db, rollout, [pair(1, 0.01)], 2);
    const pairs = async () => (await cache.of(db, rollout))?.evidence.counts().pairs;
    expect(await pairs()).toBe(1);
    const failed = db.transaction().execute(async (trx) => {
      await addEntries(trx, rollout, [pair(2, 0.01)], 3);
      expect((await cache.of(trx, rollout))?.evidence.counts().pairs).toBe(2);
      throw new Error("the disk is full");
    });
    await expect(failed).rejects.toThrow("the disk is full");
    cache.forget(rollout);
    expect(await pairs()).toBe(1);
    await addEntries(db, rollout, [pair(3, 0.01)], 4);
    expect(await pairs()).toBe(2);
    expect(await cache.of(db, "r-other")).toBeUndefined();
  });
});
