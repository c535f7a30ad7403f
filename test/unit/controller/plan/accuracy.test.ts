/** What was foretold for a processor: when it rules a variant out, and when it says nothing. */
import { describe, expect, it } from "vitest";
import {
  type DeviceClass,
  parseClasses,
  processorsOf,
} from "../../../../controller/fleet/classes.ts";
import { foretoldFault, foretoldFor } from "../../../../controller/plan/accuracy.ts";
import { evaluationSchema, type Foretold } from "../../../../shared/api/evaluation.ts";
import type { Instructions } from "../../../../shared/devices/processor.ts";

const score = { value: 0.7, low: 0.63, high: 0.76, n: 200 };
const foretold = (processor: Foretold["processor"], worse = 60, better = 2): Foretold => ({
  processor,
  outcome: "foretold",
  score,
  worse,
  better,
});

describe("foretold accuracy", () => {
  const processors = ["avx2", "arm"] as const;
  const fault = (found: readonly Foretold[], metricFloor = 0) =>
    foretoldFault({ metricFloor }, foretoldFor(found, { processors, measuredOn: [] }));

  it("rules out what is worse than its source there, with the numbers", () => {
    expect(fault([foretold("arm", 9, 2), foretold("avx2")])).toMatch(
      /^on x86 without VNNI it is worse than its source: 60 samples got worse and 2 better \(p = .*\); foretold by emulation on 200 samples, as no device/,
    );
  });

  it("rules out what is below the floor there beyond doubt", () => {
    expect(fault([foretold("arm", 0, 0)], 0.77)).toMatch(
      /^on 64-bit Arm its accuracy of 70\.00 % is below the class's floor of 77\.00 %/,
    );
    expect(fault([foretold("arm", 0, 0)], 0.76)).toBeUndefined();
  });

  it("says nothing by chance, of other processors, and without figures", () => {
    expect(fault([foretold("avx2", 9, 0)])).toBeUndefined();
    expect(fault([foretold("avx2", 10, 0)])).toBeDefined();
    expect(fault([foretold("vnni")])).toBeUndefined();
    expect(fault([{ processor: "arm", outcome: "as-here" }])).toBeUndefined();
    const none = { processor: "arm", outcome: "not-foretold", why: "ConvInteger" } as const;
    expect(fault([none])).toBeUndefined();
  });

  it("says nothing of processors that a device measured it on", () => {
    const of = (measuredOn: readonly Foretold["processor"][]) =>
      foretoldFor([foretold("avx2"), foretold("arm")], { processors, measuredOn });
    expect(of(["avx2"]).map(({ processor }) => processor)).toEqual(["arm"]);
    expect(of(["vnni"])).toHaveLength(2);
  });

  it("is empty for an evaluation of an older controller", () => {
    const part = { value: 1, low: 1, high: 1, n: 1 };
    const older = { metric: "top-1", selection: part, sealed: part, worse: 0, better: 0 };
    const { foretold: found } = evaluationSchema.parse({ ...older, ramPeakBytes: 1, loadMs: 1 });
    expect(found).toEqual([]);
  });
});

describe("processors of a class", () => {
  const classOf = (match: string): DeviceClass =>
    parseClasses(
      `classes: [{ name: one, summary: "", match: ${match}, budget: {}, recipes: [fp16], objective: size }]`,
    )[0]!;
  it.each([
    ["{}", []],
    ["{ coresMin: 2 }", []],
    ["{ architecture: [arm64] }", ["arm"]],
    ["{ architecture: [x64] }", ["avx2", "vnni"]],
    ["{ isaAll: [asimddp] }", ["arm"]],
    ["{ architecture: [x64], isaAll: [avx512_vnni] }", ["vnni"]],
    ["{ isaAll: [avx2], isaNone: [avx512_vnni, avx_vnni] }", ["avx2"]],
    ["{ isaNone: [asimddp, avx2] }", ["arm"]],
  ])("are those that its rule admits: %s", (match, expected) => {
    expect(processorsOf(classOf(match), [])).toEqual(expected);
  });

  it("are those of its devices where there are some", () => {
    const devices: Instructions[] = [
      { architecture: "x64", isa: ["avx2"] },
      { architecture: "x64", isa: ["avx2"] },
      { architecture: "riscv64", isa: [] },
    ];
    expect(processorsOf(classOf("{ architecture: [x64] }"), devices)).toEqual(["avx2"]);
    expect(processorsOf(classOf("{}"), devices)).toEqual(["avx2"]);
  });
});
