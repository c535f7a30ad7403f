/**
 * A small client of the controller's HTTP API for the demo, tests and benchmarks. It uses nothing
 * that another client could not use.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface Api {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  /** Stores one file under its SHA-256 and answers the name. */
  upload(bytes: Uint8Array): Promise<string>;
}

/** How long one call may take before it counts as failed. */
const callTimeoutMs = 30_000;

export function apiClient(options: { url: string; token: string }): Api {
  const call = async (
    method: string,
    path: string,
    body: string | Uint8Array<ArrayBuffer> | null,
    type: string,
  ) => {
    const response = await fetch(`${options.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${options.token}`, ...(body && { "content-type": type }) },
      body,
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  };
  const json = "application/json";
  return {
    get: (path) => call("GET", path, null, json),
    post: (path, body) => call("POST", path, JSON.stringify(body ?? {}), json),
    async upload(bytes) {
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      await call("PUT", `/v1/blobs/${sha256}`, new Uint8Array(bytes), "application/octet-stream");
      return sha256;
    },
  };
}

/** The files of a golden set's folder, by name: its manifest and each array that it names. */
export function goldenFiles(manifestPath: string): { name: string; bytes: Uint8Array }[] {
  const text = readFileSync(manifestPath, "utf8");
  const names = new Set([basename(manifestPath)]);
  for (const [, file] of text.matchAll(/"file":\s*"([^"#]+)/g)) names.add(file ?? "");
  return [...names].map((name) => ({
    name,
    bytes: new Uint8Array(readFileSync(join(dirname(manifestPath), name))),
  }));
}
