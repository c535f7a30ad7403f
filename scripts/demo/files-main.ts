/**
 * `npm run demo:files -- FOLDER` writes what the demo works on, to do the same by hand: the three versions
 * of the digit model, what surrounds them, and the golden pool.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { digitModelFile, readDigitModel } from "../models/digits/record.ts";
import { digitVersions } from "../models/digits/versions.ts";
import { writeDigitPool } from "./data.ts";
import { digitsInterface } from "./digits-interface.ts";

const [folder = "digits"] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const written = digitVersions.map(({ version }) => {
  const path = join(folder, digitModelFile(version));
  writeFileSync(path, readDigitModel(version));
  return path;
});
const interfacePath = join(folder, "interface.json");
writeFileSync(interfacePath, `${JSON.stringify(digitsInterface, null, 2)}\n`);
const { manifestPath, count } = writeDigitPool(join(folder, "golden"));
for (const path of [...written, interfacePath]) console.log(path);
console.log(`${manifestPath} (${count} digits)`);
