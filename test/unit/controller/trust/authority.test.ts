/** The controller's keys: made once, readable by it alone, trusted by clocks that stand at the epoch. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { controllerConfigSchema } from "../../../../controller/config.ts";
import { openAuthority } from "../../../../controller/trust/authority.ts";
import { systemFiles } from "../../../../shared/adapters/system-files.ts";
import { systemRandom } from "../../../../shared/adapters/system-random.ts";

const directory = mkdtempSync(join(tmpdir(), "fleetfit-keys-"));
const keyFile = join(directory, "authority.json");
const open = (...hostNames: string[]) =>
  openAuthority(systemFiles(), systemRandom(), { directory, hostNames });

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("keys", () => {
  it("are made once and kept in a file that only their owner reads", async () => {
    const first = await open("127.0.0.1");
    const again = await open("127.0.0.1");
    expect(again.caPem).toBe(first.caPem);
    expect(again.signingKey).toEqual(first.signingKey);
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  });

  it("give the broker a certificate for its names of today, valid from the epoch on", async () => {
    const { caPem, serverCertPem } = await open("fleet.example", "10.0.0.5", "::1");
    const authority = new X509Certificate(caPem);
    const server = new X509Certificate(serverCertPem);
    expect(server.checkIssued(authority)).toBe(true);
    expect(server.verify(authority.publicKey)).toBe(true);
    expect(server.checkHost("fleet.example")).toBe("fleet.example");
    expect(server.checkHost("other.example")).toBeUndefined();
    expect(server.checkIP("10.0.0.5")).toBe("10.0.0.5");
    expect(server.checkIP("::1")).toBe("::1");
    expect(server.ca).toBe(false);
    expect(authority.ca).toBe(true);
    for (const { validFromDate } of [authority, server]) expect(validFromDate).toEqual(new Date(0));
  });

  it("that are damaged are told and never replaced: devices trust the old ones", async () => {
    const whole = readFileSync(keyFile, "utf8");
    for (const damaged of [whole.slice(0, -20), "{}", ""]) {
      writeFileSync(keyFile, damaged);
      await expect(open("127.0.0.1")).rejects.toMatchObject({ code: "config-invalid" });
      expect(readFileSync(keyFile, "utf8")).toBe(damaged);
    }
  });
});

describe("settings", () => {
  const parse = (change: object) =>
    controllerConfigSchema.safeParse({ dataDir: "d", onnxruntime: "1.0.0", ...change });
  it.each([["0.0.0.0"], ["::"], ["10.0.0.5"]])(
    "that listen on %s name how devices get there",
    (host) => {
      const [issue] = parse({ host }).error?.issues ?? [];
      expect(issue?.path).toEqual(["publicNames"]);
      expect(parse({ host, publicNames: ["fleet.example"] }).success).toBe(true);
    },
  );
  it.each([["127.0.0.1"], ["::1"], ["localhost"]])("need no name for %s", (host) => {
    expect(parse({ host }).success).toBe(true);
  });
});
