/**
 * What every registered pass owes: options with defaults, no change of the model it was given, a sound
 * model afterwards, nothing left to do the second time, and outputs within the tolerance it declares.
 */
import { describe, expect, it } from "vitest";
import type { TensorValue } from "../../../../controller/compress/execute.ts";
import type { Tolerance } from "../../../../controller/compress/pass.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { passes } from "../../../../controller/compress/passes/registry.ts";
import { checkModel } from "../../../../controller/onnx/checker.ts";
import { equalizeNets } from "./equalize-nets.ts";
import { flattenedNet } from "./flattened-net.ts";
import { runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { type SampleNet, sampleNets } from "./sample-nets.ts";
import { quantizedNet } from "./sample-quantized-net.ts";

const nets: readonly SampleNet[] = [...sampleNets, ...equalizeNets, flattenedNet, quantizedNet];

/** Samples that calibration sees; the comparison runs on another one. */
const calibrationSeeds = [1, 2, 3, 4, 5, 6, 7, 8];
const checkSeed = 5;

const workbenchFor = (net: SampleNet) => workbenchOf(() => calibrationSeeds.map(net.feeds));

/** Says by how much outputs differ beyond the tolerance; an empty list when they do not. */
function differences(
  before: ReadonlyMap<string, TensorValue>,
  after: ReadonlyMap<string, TensorValue>,
  tolerance: Tolerance,
): string[] {
  return [...before].flatMap(([name, expected]) => {
    const actual = after.get(name);
    if (actual === undefined) return [`${name} is missing`];
    expect(actual.shape).toEqual(expected.shape);
    expect(actual.type).toBe(expected.type);
    const [old, now] = [expected.data as Float32Array, actual.data as Float32Array];
    if (tolerance.kind === "signal") {
      const ratio = signalToNoise(old, now);
      return ratio >= tolerance.decibelMin ? [] : [`${name} has ${ratio} dB`];
    }
    const isOff = (value: number, at: number): boolean =>
      Math.abs(value - now[at]!) > tolerance.absolute + tolerance.relative * Math.abs(value);
    const worst = old.findIndex(isOff);
    return worst < 0 ? [] : [`${name}[${worst}]: ${old[worst]} became ${now[worst]}`];
  });
}

describe.each(passes.map((pass) => [pass.name, pass] as const))("%s", (_name, pass) => {
  it("has options with defaults and refuses unknown ones", () => {
    expect(() => pass.bind(undefined)).not.toThrow();
    expect(() => pass.bind({ noSuchOption: 1 })).toThrow(/recipe/);
    expect(pass.summary.length).toBeGreaterThan(10);
  });

  it("changes at least one of the sample nets", async () => {
    const modified: string[] = [];
    for (const net of nets) {
      const bound = pass.bind(undefined);
      const model = net.model();
      if (bound.requires(model) !== undefined) continue;
      const { journal } = await runPasses({
        model,
        passes: [bound],
        workbench: workbenchFor(net),
      });
      if (journal[0]?.modified === true) modified.push(net.name);
    }
    expect(modified).not.toEqual([]);
  });

  it.each(nets.map((net) => [net.name, net] as const))("%s", async (_net, net) => {
    const bound = pass.bind(undefined);
    const model = net.model();
    const before = model.toProto();
    if (bound.notApplicable(model) === undefined && bound.requires(model) !== undefined) {
      await expect(runPasses({ model, passes: [bound] })).rejects.toThrow(pass.name);
      return;
    }
    const workbench = workbenchFor(net);
    const once = await runPasses({ model, passes: [bound], workbench });
    expect(model.toProto()).toBe(before);
    if (once.notApplicable !== undefined) {
      expect(once.model).toBe(model);
      return;
    }
    checkModel(once.model.toProto());
    if (once.journal[0]!.modified === false) {
      expect(once.model.encode()).toEqual(model.encode());
    }
    const twice = await runPasses({ model: once.model, passes: [bound], workbench });
    expect(twice.journal[0]?.modified ?? false).toBe(false);
    expect(twice.model.encode()).toEqual(once.model.encode());
    const feeds = net.feeds(checkSeed);
    const [old, now] = [
      await runOnce(model.encode(), feeds),
      await runOnce(once.model.encode(), feeds),
    ];
    expect(differences(old, now, bound.tolerance)).toEqual([]);
  });
});
