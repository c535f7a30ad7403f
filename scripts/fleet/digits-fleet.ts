/** A fleet of three gateways with versions of the digit classifier compressed and chosen. */
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { goldenPool, writeGoldenPool } from "../data/golden-pool.ts";
import { loadMnist } from "../data/mnist.ts";
import { digitsInterface } from "../demo/digits-interface.ts";
import { compress, devices, importVersion, longWaitMs, measure } from "../demo/operator.ts";
import { readDigitModel } from "../models/digits/record.ts";
import { type LocalFleet, type Releases, startLocalFleet } from "./local-fleet.ts";
import { waitFor } from "./programs.ts";

export const digitsModel = "digits";
/** Enough for three shards of 500 and the other parts of the split. */
const poolImages = 7_000;
const telemetryWindowMs = 10_000;
const ids = ["gateway-1", "gateway-2", "gateway-3"];

/** The golden pool that every version is judged on. */
export const fleetPool = () => goldenPool(loadMnist(), poolImages);

export async function startDigitsFleet(
  recipes: readonly string[],
  options: {
    versions?: readonly string[];
    /** Versions that are none of the committed models, by name. */
    others?: Readonly<Record<string, Uint8Array>>;
    releases?: Releases;
    /** Text of classes.yaml; the demo's classes without it. */
    classes?: string;
  } = {},
): Promise<LocalFleet> {
  const { versions = ["1", "2"], others = {}, releases = {}, classes } = options;
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-fleet-"));
  // An older controller knows only the settings of its own time.
  const root = releases.controllerRoot ?? fileURLToPath(new URL("../..", import.meta.url));
  const demoConfig = join(root, "scripts/demo/config");
  const configDir = classes === undefined ? demoConfig : join(folder, "config");
  if (classes !== undefined) {
    cpSync(demoConfig, configDir, { recursive: true });
    writeFileSync(join(configDir, "classes.yaml"), classes);
  }
  const models = new Map<string, Uint8Array>([
    ...versions.map((version) => [version, readDigitModel(Number(version))] as const),
    ...Object.entries(others),
  ]);
  const fleet = await startLocalFleet({ folder, configDir, telemetryWindowMs, releases });
  const golden = writeGoldenPool(join(folder, "golden"), fleetPool());
  for (const id of ids) await fleet.addAgent({ id, region: "eu-west", labels: {} });
  for (const [version, onnx] of models) {
    await importVersion(fleet.api(), {
      model: digitsModel,
      version,
      onnx,
      goldenManifestPath: golden.manifestPath,
      interface: digitsInterface,
    });
    await compress(fleet.api(), digitsModel, version, () => {}, recipes);
  }
  await waitFor(
    "three enrolled gateways",
    async () =>
      (await devices(fleet.api())).filter(({ online }) => online).length === ids.length
        ? true
        : undefined,
    { timeoutMs: longWaitMs },
  );
  for (const version of models.keys()) await measure(fleet.api(), digitsModel, version);
  return fleet;
}
