/**
 * The kinds of processor on which the same int8 file may give other codes. They differ in how products of
 * an unsigned and a signed byte are added up, and in what they have kernels for.
 *
 * 1. `vnni`: VPDPBUSD adds four products to 32 bits; the sums are exact.
 * 2. `avx2`: VPMADDUBSW adds two neighbouring products to 16 bits and saturates, VPMADDWD then adds the
 *    pairs to 32 bits. AVX-512 without VNNI does the same with wider registers.
 * 3. `arm`: 64-bit Arm, with exact sums, and with kernels for signed activations, which x86 has not. It
 *    also adds codes (QLinearAdd) in integers, where x86 does it in float32.
 *
 * Source: onnxruntime 1.30, mlas/lib/x86_64/QgemmU8X8KernelAvx2.S, QgemvU8S8KernelAvx2.S,
 * ConvSymKernelAvx2.S, and platform.cpp for who uses which.
 */
import type { Profile } from "./profile.ts";

export const processors = ["vnni", "avx2", "arm"] as const;

export type Processor = (typeof processors)[number];

/** As people say it. */
export const processorNames: Readonly<Record<Processor, string>> = {
  vnni: "x86 with VNNI",
  avx2: "x86 without VNNI",
  arm: "64-bit Arm",
};

/** What of a profile decides the kind of processor. */
export type Instructions = Pick<Profile, "architecture" | "isa">;

/** Undefined for a processor whose arithmetic is not known here. */
export function processorOf({ architecture, isa }: Instructions): Processor | undefined {
  if (architecture === "arm64") return "arm";
  if (architecture !== "x64") return undefined;
  if (isa.includes("avx512_vnni") || isa.includes("avx_vnni")) return "vnni";
  return isa.includes("avx2") ? "avx2" : undefined;
}
