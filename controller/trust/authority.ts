/**
 * The keys of a controller, made at its first start and kept in files that only it may read: the
 * certificate authority, the broker's certificate under it, and the key that signs manifests.
 *
 * Certificates are valid from 1970 on, so that a device whose clock fell back to the epoch still
 * connects; the authority never expires (RFC 5280 §4.1.2.5: 99991231235959Z).
 */
import "reflect-metadata";
import { createPrivateKey, generateKeyPairSync, webcrypto } from "node:crypto";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { z } from "zod";
import { generateKeyPair, type KeyPair, publicKeySchema } from "../../shared/artifact/signature.ts";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { Random } from "../../shared/ports/random.ts";

export interface Authority {
  readonly caPem: string;
  readonly serverCertPem: string;
  readonly serverKeyPem: string;
  readonly signingKey: KeyPair;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const never = new Date("9999-12-31T23:59:59Z");
const epoch = new Date(0);
/** IPv4 or IPv6; anything else is a host name. */
const addressPattern = /^[\d.]+$|:/;
const keyFileBytesMax = 65_536;

const storedSchema = z.object({
  caPem: z.string(),
  caKeyPem: z.string(),
  signingKey: z.object({ publicKey: publicKeySchema, privateKeyPem: z.string() }),
});
type Stored = z.infer<typeof storedSchema>;

/**
 * Reads the keys of `directory`, or makes them; the broker's certificate names `hostNames`.
 * Errors: `config-invalid` for a damaged key file. It is never made anew: every device trusts the old one.
 */
export async function openAuthority(
  files: Files,
  random: Random,
  options: { directory: string; hostNames: readonly string[] },
): Promise<Authority> {
  const path = join(options.directory, "authority.json");
  const stored = (await readStored(files, path)) ?? (await makeStored(files, random, path));
  const server = await issueServer(stored, random, options.hostNames);
  return { caPem: stored.caPem, signingKey: stored.signingKey, ...server };
}

async function readStored(files: Files, path: string): Promise<Stored | undefined> {
  if ((await files.stat(path)) === undefined) return undefined;
  const bytes = await files.read(path, { maxBytes: keyFileBytesMax });
  try {
    return storedSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    throw new FleetError("config-invalid", `${path} is damaged: restore it from a backup`, {
      cause,
    });
  }
}

async function makeStored(files: Files, random: Random, path: string): Promise<Stored> {
  const { keys, keyPem } = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(random),
      name: "CN=Fleetfit device authority",
      notBefore: epoch,
      notAfter: never,
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto,
  );
  const stored: Stored = {
    caPem: certificate.toString("pem"),
    caKeyPem: keyPem,
    signingKey: generateKeyPair(),
  };
  await writeFileAtomic(files, path, new TextEncoder().encode(JSON.stringify(stored)));
  return stored;
}

/** A new certificate for the broker, made at each start: it is cheap and follows the host names. */
async function issueServer(
  stored: Stored,
  random: Random,
  hostNames: readonly string[],
): Promise<{ serverCertPem: string; serverKeyPem: string }> {
  const { keys, keyPem } = await newKeys();
  const authority = new x509.X509Certificate(stored.caPem);
  const signingKey = await importKey(stored.caKeyPem);
  const names = hostNames.map(
    (name) => ({ type: addressPattern.test(name) ? "ip" : "dns", value: name }) as const,
  );
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(random),
      subject: `CN=${hostNames[0]}`,
      issuer: authority.subject,
      notBefore: epoch,
      notAfter: never,
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(names),
      ],
    },
    webcrypto,
  );
  return { serverCertPem: certificate.toString("pem"), serverKeyPem: keyPem };
}

async function newKeys(): Promise<{ keys: webcrypto.CryptoKeyPair; keyPem: string }> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const keys = {
    privateKey: await webcrypto.subtle.importKey("pkcs8", pkcs8, algorithm, true, ["sign"]),
    publicKey: await webcrypto.subtle.importKey("spki", spki, algorithm, true, ["verify"]),
  };
  return { keys, keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", der, algorithm, true, ["sign"]);
}

function serialNumber(random: Random): string {
  // RFC 5280 §4.1.2.2: positive and at most 20 octets.
  const bytes = random.bytes(16);
  bytes[0]! &= 0x7f;
  return Buffer.from(bytes).toString("hex");
}
