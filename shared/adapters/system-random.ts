/** Cryptographic randomness of the operating system. */
import { randomBytes } from "node:crypto";
import type { Random } from "../ports/random.ts";

export function systemRandom(): Random {
  return {
    bytes: (count) => new Uint8Array(randomBytes(count)),
    fraction: () => randomBytes(4).readUInt32LE(0) / 2 ** 32,
  };
}
