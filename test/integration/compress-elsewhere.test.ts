/** The choice for a processor that is not here: what was foretold for it decides where nothing measured it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { CompressionReport } from "../../controller/report/compression-report.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { readIsa } from "../../shared/devices/isa.ts";
import {
  type Processor,
  processorNames,
  processorOf,
  processors,
} from "../../shared/devices/processor.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import {
  saturatingGolden,
  saturatingInterface,
  saturatingModelBytes,
} from "../helpers/saturating-classifier.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";

const { folder, remove } = temporaryFolder();
const out = join(folder, "variants");
afterAll(remove);

const classes = [
  {
    name: "x86-avx2",
    summary: "x86 that adds pairs to 16 bits",
    match: { architecture: ["x64"], isaAll: ["avx2"], isaNone: ["avx512_vnni", "avx_vnni"] },
    budget: {},
    recipes: ["int8-static", "int8-static-reduced-range"],
    objective: "size",
  },
];

async function compress(...flags: string[]): Promise<string> {
  const {
    exitCode,
    out: printed,
    err,
  } = await fleetfitCommand([
    ...["compress", join(folder, "model.onnx"), "--golden", join(folder, "golden.json")],
    ...["--interface", join(folder, "interface.yaml"), "--config-dir", folder],
    ...["--class", "x86-avx2", "--out", out, ...flags],
  ]);
  expect(exitCode, err).toBe(0);
  return printed;
}

describe("a class of x86 without VNNI", () => {
  let report: CompressionReport;
  let here: Processor | undefined;
  beforeAll(async () => {
    for (const [name, bytes] of Object.entries(saturatingGolden()))
      writeFileSync(join(folder, name), bytes);
    writeFileSync(join(folder, "model.onnx"), saturatingModelBytes());
    writeFileSync(join(folder, "interface.yaml"), stringify(saturatingInterface));
    writeFileSync(join(folder, "classes.yaml"), stringify({ classes }));
    here = processorOf({ architecture: process.arch, isa: await readIsa(systemFiles()) });
    report = JSON.parse(await compress("--json"));
  });

  it("takes the seven-bit variant and says what the other one loses there", () => {
    const { choice } = report;
    expect(choice.recipe).toBe("int8-static-reduced-range");
    const why = choice.reasons.find(({ recipe }) => recipe === "int8-static")?.why;
    expect(why).toMatch(/it is worse than its source: \d\d samples got worse and 0 better/);
    // On such a processor itself the same was measured.
    if (here !== "avx2") expect(why).toMatch(/^on x86 without VNNI .* emulation on 80 samples/);
  });

  it("shows the other processors in every form of the report", async () => {
    const others = processors.filter((each) => each !== here);
    const [full, reduced] = report.variants.map(({ figures }) => figures!.foretold);
    expect(full).toMatchObject(others.map((processor) => ({ processor, outcome: "foretold" })));
    const isX86 = (each: Processor | undefined) => each === "vnni" || each === "avx2";
    expect(reduced!.map(({ outcome }) => outcome)).toEqual(
      others.map((each) => (isX86(each) && isX86(here) ? "as-here" : "foretold")),
    );
    const page = readFileSync(join(out, "report.html"), "utf8");
    const text = await compress();
    for (const shown of [page, text]) {
      expect(shown).toContain("On processors that are not here");
      for (const processor of others) expect(shown).toContain(processorNames[processor]);
      expect(shown).toMatch(/100\.00 % \(95\.\d\d % … 100\.00 %, n 80\), worse \/ better 0 \/ 0/);
    }
  });

  it("foretells again when the bound is another one", async () => {
    const changed = JSON.parse(await compress("--json", "--foretell-samples", "0"));
    for (const { figures } of changed.variants) expect(figures.foretold).toEqual([]);
  });
});
