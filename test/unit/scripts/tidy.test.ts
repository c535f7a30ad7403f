/**
 * Each tidy rule is seen to fire on the smallest bad example, and to stay silent on the good one beside
 * it. A rule without an example here fails the test that compares the lists.
 */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { codeRules } from "../../../scripts/tidy/code-rules.ts";
import {
  errorDocsPath,
  renderErrorDocs,
  undocumentedCodes,
  unknownCodes,
  unusedCodes,
} from "../../../scripts/tidy/error-codes.ts";
import { checkFiles, type ProjectFile } from "../../../scripts/tidy/rule.ts";
import { largeFiles, textRules } from "../../../scripts/tidy/text-rules.ts";
import { errorFacts } from "../../../shared/errors.ts";

const rules = [...textRules, ...codeRules];

function file(name: string, text: string): ProjectFile {
  return { path: name, sizeBytes: text.length, text };
}

/** Faults of one rule in one file, as "line: message". */
function faults(rule: string, name: string, text: string): number[] {
  return checkFiles(rules, [file(name, text)])
    .filter((fault) => fault.rule === rule)
    .map((fault) => fault.line);
}

interface Example {
  readonly path: string;
  readonly bad: readonly string[];
  readonly good: readonly string[];
}

const examples: Record<string, Example> = {
  "file-length": {
    path: "agent/x.ts",
    bad: ["\n".repeat(501)],
    good: ["\n".repeat(500)],
  },
  "banned-words": {
    path: "README.md",
    bad: ["TO" + "DO: later", "// FIX" + "ME", "XX" + "X", "a HA" + "CK"],
    good: ["todos and hacks in small letters are words", "MAXXXX"],
  },
  "machine-paths": {
    path: "docs/x.md",
    bad: [
      "see /home" + "/ada/x",
      "file:///Users" + "/ada/x",
      "'/work" + "/main'",
      "C:" + "\\Users\\ada",
    ],
    good: ["https://example.org/home" + "/page", "scripts/work" + "/x", "/tmp/x", "~/work" + "/x"],
  },
  "lock-addresses": {
    path: "package-lock.json",
    bad: ['"resolved": "https://example.org/a.tgz"'],
    good: ['"integrity": "sha512-a"'],
  },
  "registry-hosts": {
    path: "README.md",
    bad: ["https://registry.npm" + "js.org/x"],
    good: ["https://www.npmjs.com/package/x"],
  },
  "opening-comment": {
    path: "agent/x.ts",
    bad: ["const a = 1;", "// a line\nconst a = 1;"],
    good: ["/** Why. */\nconst a = 1;", "#!/usr/bin/env node\n/** Why. */"],
  },
  ports: {
    path: "agent/x.ts",
    bad: [
      "const t = Date.now();",
      "const t = new Date();",
      "const t = Date();",
      "setTimeout(run, 10);",
      "const timers = { setTimeout };",
      "const wait = globalThis, t = performance.now();",
      "const r = Math.random();",
      "const e = process.env['X'];",
      "process.exit(1);",
      "import { randomUUID } from 'node:crypto';",
      "import { randomBytes as bytes } from 'node:crypto';",
      "const id = crypto.randomUUID();",
      "run(AbortSignal.timeout(5));",
      "await fetch(url);",
    ],
    good: [
      "const text = new Date(wallMs).toISOString();",
      "// Date.now() would be the wall clock",
      "const help = 'Math.random()';",
      "clock.setTimeout(run, 10);",
      "function later({ setTimeout }: Timers) { setTimeout(run, 10); }",
      "interface Timers { setTimeout(run: () => void): void }",
      "import { createHash } from 'node:crypto';",
    ],
  },
  "module-state": {
    path: "shared/x.ts",
    bad: ["let count = 0;", "export let last: string;", "var old = 1;"],
    good: ["const count = 0;", "function f() { let count = 0; return count++; }"],
  },
  "default-exports": {
    path: "scripts/x.ts",
    bad: ["export default {};", "export default function f() {}", "export { f as default };"],
    good: ["export const f = 1;", "import f from 'x';"],
  },
  "tests-left-out": {
    path: "test/unit/x.test.ts",
    bad: [
      "test.only('x', run);",
      "it.skip('x', run);",
      "describe.todo('x');",
      "test.skipIf(slow)('x', run);",
      "test.each([1]).skip('x', run);",
      "test('x', (context) => context.skip());",
    ],
    good: ["test('x', run);", "options.skip = 1;", "// test.only is not used"],
  },
  "modules-replaced": {
    path: "test/unit/x.test.ts",
    bad: ["vi.mock('./x.ts');", "vi.doMock('./x.ts');", "vi.useFakeTimers();"],
    good: ["const spy = vi.fn();", "const text = 'vi.mock()';"],
  },
};

describe("rules of one file", () => {
  test.each(Object.entries(examples))("%s", (rule, { path: name, bad, good }) => {
    for (const text of bad) expect(faults(rule, name, text), text).toHaveLength(1);
    for (const text of good) expect(faults(rule, name, text), text).toEqual([]);
  });

  test("every rule has an example", () => {
    expect(rules.map((rule) => rule.name).sort()).toEqual(Object.keys(examples).sort());
  });

  test("a fault names its line", () => {
    expect(faults("ports", "agent/x.ts", "/** Why. */\n\nMath.random();\n")).toEqual([3]);
    expect(faults("banned-words", "README.md", `a\nb\nHA${"CK"}\n`)).toEqual([3]);
  });

  test("main files, adapters, scripts and tests may read the clock", () => {
    for (const name of [
      "agent/main.ts",
      "shared/inference/session-main.ts",
      "shared/adapters/clock.ts",
      "controller/cli/commands/start.ts",
      "scripts/demo/main.ts",
      "test/unit/x.test.ts",
    ]) {
      expect(faults("ports", name, "Date.now();"), name).toEqual([]);
    }
    for (const name of ["agent/mainly.ts", "controller/http/server.ts", "shared/domain.ts"]) {
      expect(faults("ports", name, "Date.now();"), name).toHaveLength(1);
    }
  });

  test("configuration files export by default", () => {
    expect(faults("default-exports", "vitest.config.ts", "export default {};")).toEqual([]);
    expect(faults("default-exports", ".dependency-cruiser.mjs", "export default {};")).toEqual([]);
  });
});

describe("rules of all files", () => {
  const facts = { known: { status: 400, retryable: false, remedy: "Do a | b." } };

  test("large files", () => {
    const huge = { path: "a.onnx", sizeBytes: 1_500_001, text: null };
    expect(largeFiles([huge])).toHaveLength(1);
    expect(largeFiles([{ ...huge, sizeBytes: 1_500_000 }])).toEqual([]);
  });

  test("a code that nothing raises", () => {
    const table = file("shared/errors.ts", 'x\n"known": fact()');
    const user = file("agent/x.ts", 'throw new FleetError("known", "…");');
    expect(unusedCodes(facts, [table, user])).toEqual([]);
    expect(unusedCodes(facts, [table])).toMatchObject([{ rule: "unused-codes", line: 2 }]);
    expect(unusedCodes(facts, [table, { ...user, path: "test/unit/x.test.ts" }])).toHaveLength(1);
  });

  test("a code of plain JavaScript that the table lacks", () => {
    const launcher = file("scripts/x.mjs", 'throw new LaunchError(\n  "strange", "…");');
    expect(unknownCodes(facts, [launcher])).toMatchObject([{ rule: "unknown-codes", line: 1 }]);
    expect(unknownCodes({ ...facts, strange: facts.known }, [launcher])).toEqual([]);
  });

  test("a page that lacks a code, has one too many or is out of date", () => {
    const page = renderErrorDocs(facts);
    expect(page).toContain("| `known` | 400 | no | Do a \\| b. |");
    expect(undocumentedCodes(facts, [file(errorDocsPath, page)])).toEqual([]);
    expect(undocumentedCodes(facts, [])[0]?.message).toContain("lacks known");
    expect(undocumentedCodes({}, [file(errorDocsPath, page)])[0]?.message).toContain("has known");
    const older = file(errorDocsPath, page.replace("400", "500"));
    expect(undocumentedCodes(facts, [older])[0]?.message).toContain("differs");
  });

  test("docs/errors.md lists exactly the codes of the table", () => {
    const page = fs.readFileSync(
      path.resolve(import.meta.dirname, "../../..", errorDocsPath),
      "utf8",
    );
    expect(page, "run `npm run docs`").toBe(renderErrorDocs(errorFacts));
  });
});
