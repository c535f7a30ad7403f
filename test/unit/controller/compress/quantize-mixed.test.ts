/** Layers that stay float because a floor asks for it: they do so in the runtime, and the floor is met. */
import { expect, it } from "vitest";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { optimizedBytes, workbenchOf } from "./run-model.ts";
import { sampleNets } from "./sample-nets.ts";

const net = sampleNets.find(({ name }) => name === "residual net")!;
const seeds = [1, 2, 3, 4, 5, 6, 7, 8];

async function quantized(options: Record<string, unknown>) {
  const { model, journal } = await runPasses({
    model: net.model(),
    // Seven bits, so that no processor saturates and the same figures come out on all of them.
    passes: [findPass("quantize-mixed")!.bind({ quantize: { reduceRange: true }, ...options })],
    workbench: workbenchOf(() => seeds.map(net.feeds)),
  });
  return { report: journal[0]!.report, fusion: auditFusion(await optimizedBytes(model.encode())) };
}

it("all layers are quantized when that is good enough", async () => {
  const { report } = await quantized({ decibelMin: 10 });
  expect(report).toMatchObject({ float: [], evaluations: 1, misses: [] });
});

it("a higher floor is met with some layers in float, and they are float in the runtime too", async () => {
  const plain = await quantized({ decibelMin: 10 });
  const wanted = Number(plain.report["decibel"]) + 2;
  const { report, fusion } = await quantized({ decibelMin: wanted });
  const float = report["float"] as readonly string[];
  expect(float.length).toBeGreaterThan(0);
  expect(float.length).toBeLessThan(Number(plain.report["linear"]));
  expect(Number(report["decibel"])).toBeGreaterThanOrEqual(wanted);
  expect(report["misses"]).toEqual([]);
  expect(fusion.floatNodes - plain.fusion.floatNodes).toBe(float.length);
  expect(report["sensitivities"]).toHaveLength(Number(plain.report["linear"]));
});

it("a floor that no integers meet leaves all layers float, within the bound", async () => {
  const { report } = await quantized({ decibelMin: 139, evaluationsMax: 5 });
  expect(Number(report["evaluations"])).toBeLessThanOrEqual(5);
  expect(report["int8"]).toEqual([]);
});

it("options of quantize-static are checked as its own", () => {
  const bind = () => findPass("quantize-mixed")!.bind({ quantize: { noSuchOption: 1 } });
  expect(bind).toThrow(/quantize/);
});
