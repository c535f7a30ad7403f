/** The operator's first token, made at the first start and kept in a file that only they may read. */
import { join } from "node:path";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { ControllerContext } from "../context.ts";
import { hashText } from "./claims.ts";

const tokenBytes = 32;
const tokenFileBytesMax = 1_000;

export const adminTokenFile = "admin-token";

/** Hash of the token; the token itself stays in its file. */
export async function adminTokenSha256(ctx: ControllerContext): Promise<string> {
  const path = join(ctx.config.dataDir, adminTokenFile);
  if ((await ctx.files.stat(path)) === undefined) {
    const token = Buffer.from(ctx.random.bytes(tokenBytes)).toString("base64url");
    await writeFileAtomic(ctx.files, path, new TextEncoder().encode(`${token}\n`));
  }
  const bytes = await ctx.files.read(path, { maxBytes: tokenFileBytesMax });
  return hashText(new TextDecoder().decode(bytes).trim());
}
