/**
 * One byte sequence per JSON value, so that a hash or signature means the content.
 *
 * RFC 8785 (JSON Canonicalization Scheme): no white space, object keys sorted by UTF-16 code units,
 * numbers and strings as ECMAScript writes them. Values that JSON cannot hold are our own bug.
 */
import { assert } from "../assert.ts";

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** UTF-8 bytes of the canonical form. */
export function canonicalJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(text(value));
}

function text(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") {
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    assert(Number.isFinite(value), "canonical JSON holds finite numbers only");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(text).join(",")}]`;
  assert(typeof value === "object", `canonical JSON cannot hold a ${typeof value}`);
  const entries = Object.entries(value as Record<string, unknown>)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${text(member)}`).join(",")}}`;
}
