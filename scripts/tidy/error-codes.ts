/**
 * Rules on error codes: the table in shared/errors.ts, the code that throws and docs/errors.md name the
 * same ones. `scripts/docs.ts` writes the page from the table.
 */
import type { ErrorFact } from "../../shared/errors.ts";
import { type Fault, isCode, lineAt, type ProjectFile } from "./rule.ts";

export const errorDocsPath = "docs/errors.md";
const tablePath = "shared/errors.ts";
type Facts = Readonly<Record<string, ErrorFact>>;

/** The page that lists every code, as Markdown. */
export function renderErrorDocs(facts: Facts): string {
  const rows = Object.entries(facts).map(
    ([code, { status, retryable, remedy }]) =>
      `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${remedy.replaceAll("|", "\\|")} |`,
  );
  return [
    "# Error codes",
    "",
    "<!-- Written by `npm run docs` from shared/errors.ts; edit that file. -->",
    "",
    "Every failure that the world can cause has a code. Programs read the code, people read the message",
    "beside it. *Again* says whether the same call may succeed later without a change.",
    "",
    "| code | HTTP status | again | what to do |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

/** Codes of the table that no product code or script names. */
export function unusedCodes(facts: Facts, files: readonly ProjectFile[]): Fault[] {
  const texts = files
    .filter(({ path }) => isCode(path) && path !== tablePath && !path.startsWith("test/"))
    .map(({ text }) => text ?? "");
  const table = files.find(({ path }) => path === tablePath)?.text ?? "";
  return Object.keys(facts)
    .filter((code) => !texts.some((text) => text.includes(`"${code}"`)))
    .map((code) => ({
      rule: "unused-codes",
      path: tablePath,
      line: lineAt(table, Math.max(0, table.search(new RegExp(`\\b${code}\\b`)))),
      message: `nothing raises "${code}": raise it or delete it`,
    }));
}

/** Codes of plain JavaScript files, which no compiler compares with the table. */
export function unknownCodes(facts: Facts, files: readonly ProjectFile[]): Fault[] {
  return files
    .filter(({ path }) => path.endsWith(".mjs"))
    .flatMap(({ path, text }) =>
      [...(text ?? "").matchAll(/new LaunchError\(\s*"([\w-]+)"/g)]
        .filter(([, code]) => !Object.hasOwn(facts, code ?? ""))
        .map((match) => ({
          rule: "unknown-codes",
          path,
          line: lineAt(text ?? "", match.index),
          message: `"${match[1]}" is not in ${tablePath}`,
        })),
    );
}

/** Codes that the page lacks, that it invents, or whose row is out of date. */
export function undocumentedCodes(facts: Facts, files: readonly ProjectFile[]): Fault[] {
  const page = files.find(({ path }) => path === errorDocsPath)?.text ?? "";
  if (page === renderErrorDocs(facts)) return [];
  const listed = [...page.matchAll(/^\| `([\w-]+)`/gm)].map((match) => match[1] ?? "");
  const missing = Object.keys(facts).filter((code) => !listed.includes(code));
  const invented = listed.filter((code) => !Object.hasOwn(facts, code));
  const names = [
    ...missing.map((code) => `lacks ${code}`),
    ...invented.map((code) => `has ${code}`),
  ];
  const what = names.length === 0 ? "differs from the table" : names.join(", ");
  const message = `${what}: run \`npm run docs\``;
  return [{ rule: "undocumented-codes", path: errorDocsPath, line: 0, message }];
}
