/**
 * What the probe found out about a device. Classes are rules over this profile; facts are stored
 * under its fingerprint.
 *
 * Invariant: `emulated` is true when any declared value overrides a probed one; whatever is measured
 * on such a device is a fact about the machine that it runs on, never about the hardware it names.
 */
import { z } from "zod";
import { canonicalJson } from "../artifact/canonical-json.ts";
import { sha256Hex } from "../artifact/hash.ts";

/** Instruction sets that decide which kernels onnxruntime uses (MLAS 1.30). */
export const isaFlags = ["avx2", "avx512_vnni", "avx_vnni", "asimddp", "i8mm", "sve"] as const;

export const profileSchema = z.object({
  architecture: z.string().max(32),
  platform: z.string().max(32),
  kernel: z.string().max(128),
  cpuModel: z.string().max(256),
  cores: z.int().min(1).max(4096),
  isa: z.array(z.enum(isaFlags)).max(isaFlags.length),
  ramBytes: z.int().min(0),
  storageFreeBytes: z.int().min(0),
  storageTotalBytes: z.int().min(0),
  power: z.enum(["mains", "battery", "unknown"]),
  batteryFraction: z.number().min(0).max(1).nullable(),
  /** Degrees Celsius by zone type, as /sys/class/thermal names them. */
  thermalZones: z.array(z.object({ type: z.string().max(64), celsius: z.number() })).max(64),
  runtime: z.object({
    onnxruntime: z.string().max(32),
    providers: z.array(z.string().max(64)).max(32),
  }),
  /** Median time of one small int8 net over that of its float32 twin; null before it was measured. */
  int8ToFloat32Ratio: z.number().positive().nullable(),
  emulated: z.boolean(),
});
export type Profile = z.infer<typeof profileSchema>;

/** Values that an operator may declare instead of the probed ones, for imitated hardware. */
export const profileOverrideSchema = profileSchema
  .omit({ emulated: true, thermalZones: true })
  .partial()
  .strict();
export type ProfileOverride = z.infer<typeof profileOverrideSchema>;

/** Names what a measurement depends on: hardware, kernel and runtime, not momentary values. */
export function profileFingerprint(profile: Profile): string {
  const { architecture, platform, kernel, cpuModel, cores, isa, ramBytes, runtime, emulated } =
    profile;
  return sha256Hex(
    canonicalJson({
      architecture,
      platform,
      kernel,
      cpuModel,
      cores,
      isa: [...isa].sort(),
      ramBytes,
      runtime,
      emulated,
    }),
  ).slice(0, 32);
}
