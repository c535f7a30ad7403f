/** Writes the pages of docs/ that are made from code: `npm run docs`. */
import fs from "node:fs";
import path from "node:path";
import { errorFacts } from "../shared/errors.ts";
import { errorDocsPath, renderErrorDocs } from "./tidy/error-codes.ts";

const file = path.join(path.dirname(import.meta.dirname), errorDocsPath);
fs.mkdirSync(path.dirname(file), { recursive: true });
fs.writeFileSync(file, renderErrorDocs(errorFacts));
console.log(`wrote ${errorDocsPath}`);
