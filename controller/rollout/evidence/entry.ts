/**
 * What evidence is made of. The ledger keeps these entries for ever, in order; everything that a verdict
 * rests on is computed from them alone, so anyone can compute it again.
 */
import { z } from "zod";
import { deviceIdSchema, nameSchema } from "../../../shared/artifact/names.ts";

const stratum = z.string().max(160);

export const evidenceEntrySchema = z.discriminatedUnion("kind", [
  /**
   * A canary was offered the release. Whoever has not answered yet counts: answers of one kind may come
   * faster than those of another.
   */
  z.object({
    kind: z.literal("offered"),
    device: deviceIdSchema,
    stratum,
    /** Place in the drawn order of the first stage; null for later stages. */
    place: z.int().min(0).nullable(),
  }),
  /** The trial of one canary came to an end. */
  z.object({
    kind: z.literal("trial"),
    device: deviceIdSchema,
    stratum,
    /** `rolled-back` by its own gates; `failed` for reasons of the world, crashes among them. */
    result: z.enum(["passed", "rolled-back", "failed"]),
  }),
  /** A device that had committed took the release back by itself: the verdict of its gates came late. */
  z.object({ kind: z.literal("taken-back"), device: deviceIdSchema, stratum }),
  /** One canary at the end of its soak: harmed when it rolled back, failed or fell silent. */
  z.object({ kind: z.literal("soaked"), device: deviceIdSchema, stratum, harmed: z.boolean() }),
  /** Both devices of a pair at the end of their soak. */
  z.object({
    kind: z.literal("pair-harm"),
    pair: nameSchema,
    stratum,
    canary: z.boolean(),
    control: z.boolean(),
  }),
  /** By how much the canary fell behind its control since before the release; above 0 is worse. */
  z.object({
    kind: z.literal("pair"),
    pair: nameSchema,
    stratum,
    signal: nameSchema,
    horizon: z.int().min(0).max(7),
    drop: z.number().min(-1).max(1),
    /** Golden shard that it was measured on; null for live signals. One shard speaks once. */
    shard: z.string().max(64).nullable().default(null),
  }),
]);
export type EvidenceEntry = z.infer<typeof evidenceEntrySchema>;

/** Two entries with the same key say the same thing: the first one counts. */
export function entryKey(entry: EvidenceEntry): string {
  switch (entry.kind) {
    case "offered":
    case "trial":
    case "taken-back":
    case "soaked":
      return `${entry.kind}/${entry.device}`;
    case "pair-harm":
      return `${entry.kind}/${entry.pair}`;
    case "pair":
      return `${entry.kind}/${entry.pair}/${entry.signal}/${entry.horizon}`;
  }
}
