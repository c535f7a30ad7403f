/** Puts the demo's own table between the two markers in README.md. */
import { readFileSync, writeFileSync } from "node:fs";
import type { LocalFleet } from "../fleet/local-fleet.ts";
import { markdownTable } from "./table.ts";

const path = new URL("../../README.md", import.meta.url);
const marked = /(<!-- demo-table -->\n)[\s\S]*?(<!-- \/demo-table -->)/;

export async function writeReadmeTable(fleet: LocalFleet): Promise<void> {
  const table = await markdownTable(fleet);
  writeFileSync(path, readFileSync(path, "utf8").replace(marked, `$1${table}\n$2`));
}
