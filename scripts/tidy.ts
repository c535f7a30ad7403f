/**
 * The tidy check: this project's own rules, over all files that git tracks or would track. Each rule is
 * a pure function below scripts/tidy/, and test/unit/scripts/tidy.test.ts sees each of them fire.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { errorFacts } from "../shared/errors.ts";
import { codeRules } from "./tidy/code-rules.ts";
import { undocumentedCodes, unknownCodes, unusedCodes } from "./tidy/error-codes.ts";
import { checkFiles, type Fault, type ProjectFile } from "./tidy/rule.ts";
import { largeFiles, textRules } from "./tidy/text-rules.ts";

const projectRoot = path.dirname(import.meta.dirname);

/** All faults of the given files. */
export function tidyFaults(files: readonly ProjectFile[]): Fault[] {
  return [
    ...checkFiles([...textRules, ...codeRules], files),
    ...largeFiles(files),
    ...unusedCodes(errorFacts, files),
    ...unknownCodes(errorFacts, files),
    ...undocumentedCodes(errorFacts, files),
  ];
}

/** Reads what git tracks and what it would track; ignored files are left out. */
function projectFiles(root: string): ProjectFile[] {
  const flags = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const names = execFileSync("git", flags, { cwd: root, encoding: "utf8" }).split("\0");
  return [...new Set(names)]
    .filter((name) => name !== "" && fs.existsSync(path.join(root, name)))
    .map((name) => {
      const bytes = fs.readFileSync(path.join(root, name));
      return { path: name, sizeBytes: bytes.length, text: decode(bytes) };
    });
}

function decode(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

if (import.meta.main) {
  const files = projectFiles(projectRoot);
  const faults = tidyFaults(files);
  if (files.length === 0) throw new Error("git lists no file, so nothing was checked");
  for (const { rule, path: file, line, message } of faults) {
    console.error(`${file}:${line} ${rule}: ${message}`);
  }
  console.log(`tidy: ${files.length} files, ${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
