/** SHA-256 names of artifacts, always as 64 lower-case hexadecimal digits. */
import { createHash } from "node:crypto";
import { z } from "zod";

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits");

export function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Hash of a stream of parts, for files that do not fit in memory. */
export function sha256Stream(): { update(bytes: Uint8Array): void; hex(): string } {
  const hash = createHash("sha256");
  return {
    update(bytes) {
      hash.update(bytes);
    },
    hex: () => hash.digest("hex"),
  };
}
