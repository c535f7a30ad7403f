/** Settings of a controller. Sizes and times have their units in the name; every default is here. */
import { z } from "zod";
import { tenantSchema } from "../shared/artifact/names.ts";
import { foretellBoundSchema } from "./jobs/foretell-bound.ts";

/** Names that lead nowhere from another machine; `0.0.0.0` and `::` listen to others as well. */
const loopback = /^(localhost|127\..*|::1)$/;

const settingsSchema = z.object({
  dataDir: z.string().min(1),
  /** Folder with classes.yaml, regions.yaml and recipes.yaml; what is missing there has defaults. */
  configDir: z.string().min(1).optional(),
  tenant: tenantSchema.default("main"),
  /** Address of both listeners; the API leaves loopback only with a certificate. */
  host: z.string().default("127.0.0.1"),
  /** Host names and addresses that devices reach the broker under. */
  publicNames: z.array(z.string().max(253)).min(1).default(["127.0.0.1", "localhost"]),
  httpPort: z.int().min(0).max(65_535).default(8700),
  /** PEM files; with both the API speaks TLS and may listen beyond loopback. */
  httpCertFile: z.string().min(1).optional(),
  httpKeyFile: z.string().min(1).optional(),
  mqttPort: z.int().min(0).max(65_535).default(8883),
  telemetryWindowMs: z.int().min(1_000).max(86_400_000).default(300_000),
  /** How long a manifest may be installed after it was signed. */
  manifestTtlMs: z
    .int()
    .min(60_000)
    .default(7 * 86_400_000),
  claimTtlMs: z.int().min(1_000).default(3_600_000),
  /** Probability that a healthy release rolls back on one device, and in one rollout. */
  alphaDevice: z.number().positive().max(0.1).default(0.001),
  alphaRollout: z.number().positive().max(0.5).default(0.01),
  /** How long the canaries of a rollout without stages of its own are watched before it goes on. */
  canarySoakMs: z
    .int()
    .min(0)
    .max(90 * 86_400_000)
    .default(1_800_000),
  /** How many people beside the one who starts it have to approve a rollout. */
  rolloutApprovals: z.int().min(0).max(16).default(0),
  /** Time of operation that devices watch a model after its commit; 0 for none. 72 h by default. */
  soakMs: z
    .int()
    .min(0)
    .max(90 * 86_400_000)
    .default(72 * 3_600_000),
  /** How long telemetry windows are kept, and how many at most: 30 days, 2 million (about 1 GB). */
  telemetryRetentionMs: z
    .int()
    .min(8 * 86_400_000)
    .default(30 * 86_400_000),
  telemetryRowsMax: z.int().min(10_000).default(2_000_000),
  /** How long events are kept, and how many at most: 400 days, 1 million. */
  eventRetentionMs: z
    .int()
    .min(8 * 86_400_000)
    .default(400 * 86_400_000),
  eventRowsMax: z.int().min(10_000).default(1_000_000),
  /** Bytes of artifact blocks that leave the controller per second, all devices together. */
  transferBytesPerSecond: z.int().min(65_536).default(50_000_000),
  /** Version of the installed onnxruntime: what variants are proved with. */
  onnxruntime: z.string().max(32),
  /** Longest time of one compression job. */
  jobTimeoutMs: z.int().min(1_000).default(3_600_000),
  /** Most memory of one compression job, its own process alone. */
  jobMemoryBytesMax: z
    .int()
    .min(64 * 2 ** 20)
    .default(4 * 2 ** 30),
  /** How much of the accuracy of int8 variants on other processors is foretold. */
  foretellSamplesMax: foretellBoundSchema.shape.samplesMax,
  foretellTimeMaxMs: foretellBoundSchema.shape.timeMaxMs,
});

export const controllerConfigSchema = settingsSchema.superRefine((settings, refinement) => {
  if (loopback.test(settings.host) || !settings.publicNames.every((name) => loopback.test(name)))
    return;
  const message = `name how devices reach this machine, as it listens on ${settings.host}`;
  refinement.addIssue({ code: "custom", path: ["publicNames"], message });
});
export type ControllerConfig = z.infer<typeof controllerConfigSchema>;
