/**
 * The manifest is the signed order "this device may run this bundle": bundle hash and length, what it
 * needs, which golden shards prove it, until when it may be installed, and a release counter that only
 * rises. A device takes every fact about an update from here and never from the message around it.
 *
 * Invariant: a fleet rollback is a new counter that names an old bundle.
 */
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { sha256Schema } from "./hash.ts";
import { installAlways, installPolicySchema } from "./install-policy.ts";
import { deviceIdSchema, modelNameSchema, nameSchema, tenantSchema } from "./names.ts";
import {
  type KeyPair,
  type PublicKey,
  type Signed,
  signDocument,
  verifyDocument,
} from "./signature.ts";
import { soakSchema } from "./soak.ts";

const artifactRefSchema = z.object({ sha256: sha256Schema, bytes: z.int().min(1) });

/** Limits that the trial on the device holds the bundle against. */
export const gatesSchema = z.object({
  /** Lowest metric on the golden shard, as a fraction; the class's floor. */
  metricFloor: z.number().min(0).max(1),
  /** Lowest share of right answers in every class, and lowest metric in every slice; null for none. */
  classFloor: z.number().min(0).max(1).nullable().default(null),
  sliceFloor: z.number().min(0).max(1).nullable().default(null),
  /** Drop that the certificate of non-inferiority is about; null when none is wanted. It only informs. */
  nonInferiorityMargin: z.number().positive().max(1).nullable().default(null),
  /** Highest ratio of new to old energy per inference; null when it only informs. */
  energyRatioMax: z.number().min(1).max(100).nullable().default(null),
  /** Gate results that the controller reads: 2 adds `energy`. */
  vocabulary: z.int().min(1).default(1),
  /** What a device does when the machine never let the latency be judged. */
  onInconclusive: z.enum(["commit", "roll-back"]).default("commit"),
  /** Highest ratio of new to old median latency that is accepted; 1.10 by default. */
  latencyRatioMax: z.number().min(1).max(100),
  /** Highest p50 latency of one inference; null when the class sets none. */
  latencyMsMax: z.number().positive().nullable(),
  /** Highest peak resident memory of the runner process. */
  ramPeakBytesMax: z.int().positive().nullable(),
  /** Highest share of samples whose answer may differ from the controller's for the same file. */
  parityFlipFractionMax: z.number().min(0).max(1),
  /**
   * Level of parity where it is the only gate, for what ran here before and comes back: it has to load and
   * to compute what the controller computed. Null: all gates apply, as they do on agents before 0.2.0.
   */
  parityOnlyAlpha: z.number().positive().max(0.1).nullable().default(null),
  /** Probability that a healthy release rolls back on this device; split over the gates. */
  alphaDevice: z.number().positive().max(0.1),
});

export const manifestSchema = z.object({
  schema: z.literal("fleetfit/manifest/1"),
  tenant: tenantSchema,
  device: deviceIdSchema,
  /**
   * `release` may be committed; `measure` is benchmarked and thrown away; `control` names the committed
   * bundle, which goes through its own trial while others try a release (agents from 0.2.0 on).
   */
  purpose: z.enum(["release", "measure", "control"]),
  model: modelNameSchema,
  version: nameSchema,
  recipe: nameSchema,
  bundle: artifactRefSchema,
  /** Sum of the bundle's files, so that a device can refuse before it downloads. */
  filesBytes: z.int().min(1),
  releaseCounter: z.int().min(0),
  runtime: z.object({
    onnxruntimeMin: z.string().max(32),
    onnxruntimeMaxExclusive: z.string().max(32),
  }),
  opset: z.int().min(1).max(1000),
  executionProvider: z.object({
    name: z.string().max(64),
    options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  deviceClass: nameSchema,
  /** True when the choice of this variant rests on an emulated device. */
  choiceEmulated: z.boolean(),
  golden: z.array(z.object({ shard: artifactRefSchema, reference: artifactRefSchema })).max(8),
  gates: gatesSchema,
  /** When the device may install it. */
  install: installPolicySchema.default(installAlways),
  /** What is watched after the commit; without it nothing is. */
  soak: soakSchema.nullable().default(null),
  agentMin: z.string().max(32),
  issuedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
});
export type Manifest = z.infer<typeof manifestSchema>;

export function signManifest(manifest: Manifest, key: KeyPair): Signed {
  return signDocument(manifestSchema.parse(manifest), key);
}

/**
 * Signature first, then shape. Audience, expiry and counter are checks of the caller, who knows them.
 * Errors: `signature-invalid`, `manifest-invalid`.
 */
export function verifyManifest(document: unknown, keys: readonly PublicKey[]): Manifest {
  return verifyDocument(document, keys, {
    shape: manifestSchema,
    invalid: (why, cause) => new FleetError("manifest-invalid", `manifest: ${why}`, { cause }),
  });
}
