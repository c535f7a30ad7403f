/** A fleet of three gateways with two versions of the digit classifier compressed and chosen. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { goldenPool, writeGoldenPool } from "../data/golden-pool.ts";
import { loadMnist } from "../data/mnist.ts";
import { digitsInterface } from "../demo/digits-interface.ts";
import { compress, devices, importVersion, longWaitMs, measure } from "../demo/operator.ts";
import { readDigitModel } from "../models/digits/record.ts";
import { type LocalFleet, startLocalFleet } from "./local-fleet.ts";
import { waitFor } from "./programs.ts";

export const digitsModel = "digits";
/** Enough for three shards of 500 and the other parts of the split. */
const poolImages = 7_000;
const telemetryWindowMs = 10_000;
const ids = ["gateway-1", "gateway-2", "gateway-3"];

export async function startDigitsFleet(recipes: readonly string[]): Promise<LocalFleet> {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-fleet-"));
  const configDir = fileURLToPath(new URL("../demo/config", import.meta.url));
  const fleet = await startLocalFleet({ folder, configDir, telemetryWindowMs });
  const golden = writeGoldenPool(join(folder, "golden"), goldenPool(loadMnist(), poolImages));
  for (const id of ids) await fleet.addAgent({ id, region: "eu-west", labels: {} });
  for (const version of ["1", "2"]) {
    await importVersion(fleet.api(), {
      model: digitsModel,
      version,
      onnx: readDigitModel(Number(version)),
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
  for (const version of ["1", "2"]) await measure(fleet.api(), digitsModel, version);
  return fleet;
}
