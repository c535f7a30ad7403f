/**
 * Each room rule is seen to fire: a small tree with one violation is written to a temporary folder and
 * checked with the real rules. A rule without such an example fails the last test of its group.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ICruiseResult } from "dependency-cruiser";
import extractConfig from "dependency-cruiser/config-utl/extract-depcruise-config";
import { afterEach, describe, expect, test } from "vitest";
import { checkRooms, report } from "../../../scripts/rooms.ts";

const config = path.resolve(import.meta.dirname, "../../../.dependency-cruiser.mjs");
const planted: string[] = [];

afterEach(() => {
  for (const folder of planted.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** A tree with a clean agent, controller and shared, fake packages, and the given files on top. */
function plant(files: Record<string, string>): string {
  const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "fleetfit-rooms-")));
  planted.push(root);
  const dependencies = [
    "zod",
    "mqtt",
    "better-sqlite3",
    "onnxruntime-node",
    "@huggingface/tokenizers",
    "yaml",
  ];
  const packages = [...dependencies, "vitest"].flatMap((name): [string, string][] => [
    [`node_modules/${name}/package.json`, `{"name":"${name}","version":"1.0.0","main":"index.js"}`],
    [`node_modules/${name}/index.js`, "module.exports = {};"],
  ]);
  const tree: Record<string, string> = {
    "package.json": JSON.stringify({
      name: "planted",
      dependencies: Object.fromEntries(dependencies.map((name) => [name, "1.0.0"])),
      devDependencies: { vitest: "1.0.0" },
    }),
    "shared/clock.ts": "export interface Clock { nowMs(): number }",
    "shared/adapters/files.ts": 'import fs from "node:fs";\nexport const read = fs.readFileSync;',
    "shared/inference/session.ts":
      'import * as ort from "onnxruntime-node";\nexport const runtime = ort;',
    "agent/main.ts": 'import { read } from "../shared/adapters/files.ts";\nread("x");',
    "agent/part.ts": 'import type { Clock } from "../shared/clock.ts";\nexport type Part = Clock;',
    "controller/main.ts": 'import "./onnx/graph.ts";\nimport "./storage/rows.ts";',
    "controller/onnx/graph.ts":
      'import type { Clock } from "../../shared/clock.ts";\nexport const graph = (clock: Clock) => clock;',
    "controller/storage/rows.ts": 'import "zod";\nexport const rows = 1;',
    "scripts/tool.ts": 'import "../shared/clock.ts";',
    "test/helper.ts": 'import "../shared/clock.ts";\nexport const helper = 1;',
    ...Object.fromEntries(packages),
    ...files,
  };
  for (const [file, text] of Object.entries(tree)) {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    fs.writeFileSync(path.join(root, file), text);
  }
  return root;
}

/** One violation for each rule: the file, and what it must not contain. */
const violations: Record<string, readonly [file: string, text: string][]> = {
  "shared-stands-alone": [["shared/bad.ts", 'import "../agent/part.ts";']],
  "agent-without-controller": [["agent/bad.ts", 'import "../controller/storage/rows.ts";']],
  "controller-without-agent": [
    ["controller/bad.ts", 'import type { Part } from "../agent/part.ts";'],
  ],
  "product-without-scripts": [["agent/bad.ts", 'import "../scripts/tool.ts";']],
  "onnx-stands-alone": [["controller/onnx/bad.ts", 'import "../storage/rows.ts";']],
  "compress-on-onnx": [["controller/compress/bad.ts", 'import "../storage/rows.ts";']],
  "train-on-onnx": [["controller/train/bad.ts", 'import "../storage/rows.ts";']],
  "nobody-imports-main": [["agent/bad.ts", 'import "./main.ts";']],
  "cli-stays-outside": [
    ["controller/cli/table.ts", 'import "zod";'],
    ["controller/bad.ts", 'import "./cli/table.ts";'],
  ],
  "adapters-only-in-main": [
    ["agent/bad.ts", 'import { read } from "../shared/adapters/files.ts";'],
  ],
  "ports-not-built-ins": [
    ["agent/bad.ts", 'import fs from "node:fs/promises";'],
    ["controller/storage/bad.ts", 'import { spawn } from "child_process";'],
    ["controller/worse.ts", 'const net = await import("node:net");'],
    ["agent/later.ts", 'const fs = process.getBuiltinModule("node:fs");'],
  ],
  "ports-not-packages": [
    ["agent/bad.ts", 'import mqtt from "mqtt";'],
    ["controller/storage/bad.ts", 'import Database from "better-sqlite3";'],
  ],
  "pure-rooms": [
    ["shared/bad.ts", 'import os from "node:os";'],
    ["controller/onnx/bad.ts", 'import fs from "node:fs";'],
    ["controller/compress/bad.ts", 'import type { InferenceSession } from "onnxruntime-node";'],
    ["controller/train/bad.ts", 'import mqtt from "mqtt";'],
    ["controller/rollout/machine.ts", 'import tls from "node:tls";'],
    ["agent/update/machine.ts", 'import http from "node:http";'],
  ],
  "runtime-only-in-inference": [["agent/bad.ts", 'import * as ort from "onnxruntime-node";']],
  "shared-packages": [
    ["shared/bad.ts", 'import yaml from "yaml";'],
    ["shared/worse.ts", 'import { Tokenizer } from "@huggingface/tokenizers";'],
  ],
  "adapter-packages": [["shared/adapters/bad.ts", 'import yaml from "yaml";']],
  "inference-packages": [["shared/inference/bad.ts", 'import yaml from "yaml";']],
  "no-development-packages": [["controller/bad.ts", 'import "vitest";']],
  "no-cycles": [
    ["agent/one.ts", 'import "./two.ts";'],
    ["agent/two.ts", 'import "./one.ts";'],
  ],
  "no-orphans": [["agent/bad.ts", "export const alone = 1;"]],
  "no-unresolvable": [["agent/bad.ts", 'import "./nowhere.ts";']],
};

describe("room rules", () => {
  test("a clean tree has no fault", async () => {
    const { faults, moduleCount } = await checkRooms(plant({}), config);
    expect(faults).toEqual([]);
    expect(moduleCount).toBe(10);
  });

  test.each(Object.entries(violations))("%s fires", async (rule, files) => {
    const { faults } = await checkRooms(plant(Object.fromEntries(files)), config);
    const guilty = faults.filter((fault) => fault.rule === rule);
    expect(guilty.length, JSON.stringify(faults)).toBeGreaterThan(0);
    for (const fault of guilty) expect(fault.reason).not.toBe("");
    if (!["no-cycles", "cli-stays-outside"].includes(rule)) {
      expect([...new Set(guilty.map((fault) => fault.from))].sort()).toEqual(
        files.map(([file]) => file).sort(),
      );
    }
  });

  test("every rule has a violation here", async () => {
    const { forbidden } = (await extractConfig(config)) as { forbidden: { name: string }[] };
    expect(forbidden.map((rule) => rule.name).sort()).toEqual(Object.keys(violations).sort());
  });

  test("main files, adapters, scripts and tests may reach for the world", async () => {
    const text =
      'import fs from "node:fs";\nimport mqtt from "mqtt";\nimport "{up}shared/adapters/files.ts";';
    const allowed = {
      "agent/inference-main.ts": text.replace("{up}", "../"),
      "controller/cli/commands/start.ts": text.replace("{up}", "../../../"),
      "scripts/bad.ts": text.replace("{up}", "../"),
      "test/unit/a.test.ts": text.replace("{up}", "../../"),
      "shared/adapters/mqtt.ts": 'import mqtt from "mqtt";',
      "shared/inference/tokens.ts": 'import { Tokenizer } from "@huggingface/tokenizers";',
      "controller/storage/types.ts": 'import type { Database } from "better-sqlite3";',
    };
    expect((await checkRooms(plant(allowed), config)).faults).toEqual([]);
  });
});

describe("a check that is blind", () => {
  test("an empty tree is a fault", async () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "fleetfit-rooms-"));
    planted.push(root);
    expect((await checkRooms(root, config)).faults.map((fault) => fault.rule)).toEqual([
      "no-modules",
    ]);
  });

  test("files that were not read are faults", () => {
    const nothing = { modules: [], summary: { violations: [] } } as unknown as ICruiseResult;
    expect(report(nothing, ["agent/main.ts"]).faults.map((fault) => fault.rule)).toEqual([
      "not-read",
      "no-dependencies",
    ]);
  });
});
