/**
 * Transfer by pull: the device names the blocks it misses, the controller answers with some of them.
 * Resume after a power cut is the same request with another bitmap.
 */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { defineMessage } from "../message.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

/** Bytes of one block; the last one of an artifact is shorter. 64 KiB: mqtt-scale measurement. */
export const blockBytes = 65_536;
/** Blocks that one request may ask for. */
export const blocksPerRequestMax = 64;

export const artifactRequest = defineMessage({
  name: "artifact-request",
  version: 1,
  direction: "up",
  qos: 0,
  delivery: "best-effort",
  bytesMax: 4_096,
  schema: z.object({
    sha256: sha256Schema,
    firstBlock: z.int().min(0),
    /** Bit i of byte ⌊i/8⌋ (lowest first) is 1 when block firstBlock + i is missing. */
    missing: bytesSchema.refine((bits) => bits.byteLength <= blocksPerRequestMax / 8),
  }),
});

export const artifactBlock = defineMessage({
  name: "artifact-block",
  version: 1,
  direction: "down",
  qos: 0,
  delivery: "best-effort",
  bytesMax: blockBytes + 256,
  schema: z.object({
    sha256: sha256Schema,
    totalBytes: z.int().min(1),
    index: z.int().min(0),
    data: bytesSchema,
  }),
});

/** The controller will not send this artifact. */
export const artifactRefused = defineMessage({
  name: "artifact-refused",
  version: 1,
  direction: "down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 1_024,
  schema: z.object({ sha256: sha256Schema, code: z.string().max(64), reason: z.string().max(512) }),
});
