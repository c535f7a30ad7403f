/**
 * Ed25519 signatures over canonical JSON (RFC 8032, RFC 8785). The signed part and its signatures
 * travel together, so a verifier re-makes the bytes instead of trusting those that were sent.
 *
 * Invariant: nothing of `signed` is used before its signature holds.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { canonicalJson } from "./canonical-json.ts";
import { sha256Hex } from "./hash.ts";

/** A public key as it is stored and sent: SPKI DER in base64, named by its SHA-256. */
export const publicKeySchema = z.object({
  keyId: z.string().regex(/^[0-9a-f]{64}$/),
  spkiBase64: z.string().max(200),
});
export type PublicKey = z.infer<typeof publicKeySchema>;

export const signatureSchema = z.object({
  keyId: z.string().regex(/^[0-9a-f]{64}$/),
  signatureBase64: z.string().max(100),
});

/** The envelope of a signed document: `signed` stays unparsed until its signature holds. */
export const signedSchema = z.object({
  signed: z.record(z.string(), z.unknown()),
  signatures: z.array(signatureSchema).min(1).max(8),
});
export type Signed = z.infer<typeof signedSchema>;

export interface KeyPair {
  readonly publicKey: PublicKey;
  /** PKCS#8 PEM; never logged, never sent. */
  readonly privateKeyPem: string;
}

export function generateKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ type: "spki", format: "der" });
  return {
    publicKey: { keyId: sha256Hex(spki), spkiBase64: spki.toString("base64") },
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

export function signDocument(signed: Record<string, unknown>, key: KeyPair): Signed {
  const signature = sign(null, canonicalJson(signed), createPrivateKey(key.privateKeyPem));
  return {
    signed,
    signatures: [{ keyId: key.publicKey.keyId, signatureBase64: signature.toString("base64") }],
  };
}

/**
 * The document when one signature by one of `keys` holds over it.
 * Errors: `signature-invalid`.
 */
function verifySigned(document: Signed, keys: readonly PublicKey[]): Record<string, unknown> {
  const bytes = canonicalJson(document.signed);
  for (const { keyId, signatureBase64 } of document.signatures) {
    const key = keys.find((candidate) => candidate.keyId === keyId);
    if (key !== undefined && verifyOne(bytes, key, signatureBase64)) return document.signed;
  }
  throw new FleetError(
    "signature-invalid",
    "no signature of a trusted key holds over the document",
    {
      details: { keyIds: document.signatures.map(({ keyId }) => keyId) },
    },
  );
}

/**
 * What a signed document says: signature first, then shape. `invalid` makes the error of a document that
 * is not signed or has another shape. Errors: `signature-invalid`, and that one.
 */
export function verifyDocument<Shape extends z.ZodType>(
  document: unknown,
  keys: readonly PublicKey[],
  { shape, invalid }: { shape: Shape; invalid: (why: string, cause: z.ZodError) => FleetError },
): z.infer<Shape> {
  const envelope = signedSchema.safeParse(document);
  if (!envelope.success) throw invalid("not a signed document", envelope.error);
  const parsed = shape.safeParse(verifySigned(envelope.data, keys));
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error), parsed.error);
  return parsed.data;
}

function verifyOne(bytes: Uint8Array, key: PublicKey, signatureBase64: string): boolean {
  const spki = Buffer.from(key.spkiBase64, "base64");
  if (sha256Hex(spki) !== key.keyId) return false;
  const publicKey = createPublicKey({ key: spki, type: "spki", format: "der" });
  return verify(null, bytes, publicKey, Buffer.from(signatureBase64, "base64"));
}
