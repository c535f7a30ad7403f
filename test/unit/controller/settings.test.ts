/** Settings from flags, environment and file: who wins, and that every fault is told at once. */
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type Flags, loadSettings, variableOf } from "../../../controller/settings.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import type { Files } from "../../../shared/ports/files.ts";

const folder = "/etc/fleet";

/** The built-in defaults are read from disk; the operator's folder is `own`. */
function filesWith(own: Record<string, string>): Files {
  const real = systemFiles();
  const bytesOf = (path: string) => {
    const text = own[path.slice(folder.length + 1)];
    return text === undefined ? undefined : new TextEncoder().encode(text);
  };
  return {
    ...real,
    async stat(path) {
      if (!path.startsWith(folder)) return real.stat(path);
      const bytes = bytesOf(path);
      return bytes && { bytes: bytes.byteLength, isDirectory: false };
    },
    async read(path, limits) {
      return bytesOf(path) ?? real.read(path, limits);
    },
  };
}
const load = (
  own: Record<string, string>,
  flags: Flags = {},
  environment: Record<string, string> = {},
) =>
  loadSettings(filesWith(own), {
    flags: { dataDir: "data", configDir: folder, ...flags },
    environment,
    onnxruntime: "1.30.0",
  });

describe("settings", () => {
  it("have defaults, and paths that start at the working directory", async () => {
    const config = await load({});
    expect(config).toMatchObject({ dataDir: resolve("data"), mqttPort: 8883, tenant: "main" });
  });

  it("are taken from flags before the environment before the file", async () => {
    const own = { "controller.yaml": "mqttPort: 1\nhttpPort: 2\ntenant: acme\n" };
    const environment = { FLEETFIT_MQTT_PORT: "3", FLEETFIT_HTTP_PORT: "4" };
    const config = await load(own, { mqttPort: "5" }, environment);
    expect(config).toMatchObject({ mqttPort: 5, httpPort: 4, tenant: "acme" });
  });

  it("are lists where names repeat, and paths of the file start at its folder", async () => {
    const own = { "controller.yaml": "httpCertFile: tls/cert.pem\n" };
    const environment = { FLEETFIT_PUBLIC_NAMES: "fleet.example.com, 10.0.0.1" };
    const config = await load(own, {}, environment);
    expect(config.publicNames).toEqual(["fleet.example.com", "10.0.0.1"]);
    expect(config.httpCertFile).toBe(join(folder, "tls/cert.pem"));
    const flags = { publicNames: ["a.example.com", "b.example.com"] };
    expect((await load({}, flags, environment)).publicNames).toEqual(flags.publicNames);
  });

  it("are refused with every fault and its place", async () => {
    const own = {
      "controller.yaml": "mqttPort: many\nmqtPort: 1\ndataDir: elsewhere\n",
      "classes.yaml": "classes: []\n",
      "regions.yaml": "regions: [{ name: EU }]\n",
    };
    const faults = load(own, { httpPort: "x" }, { FLEETFIT_ALPHA_DEVICE: "2" });
    const error = await faults.catch((each: unknown) => each);
    expect(error).toMatchObject({ code: "config-invalid" });
    for (const part of [
      "mqttPort (controller.yaml)",
      "no setting mqtPort",
      "no setting dataDir",
      "httpPort (flag)",
      "alphaDevice (FLEETFIT_ALPHA_DEVICE)",
      "classes:",
      "regions:",
    ]) {
      expect(String(error)).toContain(part);
    }
  });

  it("are refused without a folder for the data, and where the file is no YAML", async () => {
    await expect(load({}, { dataDir: undefined })).rejects.toMatchObject({
      message: expect.stringContaining("dataDir"),
    });
    await expect(load({ "controller.yaml": "a: [" })).rejects.toMatchObject({
      code: "config-invalid",
    });
  });

  it("have a name in the environment", () => {
    expect(variableOf("transferBytesPerSecond")).toBe("FLEETFIT_TRANSFER_BYTES_PER_SECOND");
  });
});
