/** Recipes: the ones that come along, faults in files, and the driver from bytes to bytes. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { applyRecipe } from "../../../../controller/compress/compress.ts";
import { definePass, exactTolerance, noOptions } from "../../../../controller/compress/pass.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { parseRecipes, recipeNeeds } from "../../../../controller/compress/recipe.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { sampleNets } from "./sample-nets.ts";

const text = readFileSync(
  new URL("../../../../controller/compress/recipes.yaml", import.meta.url),
  "utf8",
);
const recipes = parseRecipes(text);
const recipe = (name: string) => recipes.find((each) => each.name === name)!;
const [residual, perceptron, , shapeWork, recurrent] = sampleNets;

function netFor(name: string) {
  if (name === "int8-recurrent") return recurrent!;
  return name === "int8-dynamic" ? perceptron! : residual!;
}

describe("the recipes that come along", () => {
  it("are the ones the documentation names", () => {
    expect(recipes.map(({ name }) => name)).toEqual([
      "fp32-clean",
      "fp16",
      "int8-static",
      "int8-static-recovered",
      "int8-static-reduced-range",
      "int8-static-recovered-reduced-range",
      "int8-dynamic",
      "int8-weights",
      "int4-weights",
      "int4-weights-recovered",
      "int8-recurrent",
    ]);
    expect(recipeNeeds(recipe("int8-static"))).toEqual({ samples: true });
    expect(recipeNeeds(recipe("int8-dynamic"))).toEqual({ samples: false });
  });

  it.each(recipes.map(({ name }) => name))("%s makes a variant that runs", async (name) => {
    const net = netFor(name);
    const modelBytes = net.model().encode();
    const progress: string[] = [];
    const result = await applyRecipe({
      modelBytes,
      recipe: recipe(name),
      onProgress: ({ pass }) => void progress.push(pass),
      workbench: workbenchOf(() => [1, 2, 3].map(net.feeds)),
    });
    if (result.outcome !== "made") throw new Error(result.reason);
    expect(progress).toEqual(recipe(name).passes.map(({ pass }) => pass));
    expect(result.journal.map(({ pass }) => pass)).toEqual(progress);
    const outputs = await runOnce(result.bytes, net.feeds(9));
    expect([...outputs.keys()]).toEqual(net.model().graph.outputNames);
  });

  const pairs = recipes.flatMap((each) => sampleNets.map((net) => [each.name, net.name] as const));
  it.each(pairs)("%s keeps what the %s computes", async (name, netName) => {
    const net = sampleNets.find((each) => each.name === netName)!;
    const result = await applyRecipe({
      modelBytes: net.model().encode(),
      recipe: recipe(name),
      workbench: workbenchOf(() => [1, 2, 3, 4, 5, 6, 7, 8].map(net.feeds)),
    });
    if (result.outcome === "not-applicable") return;
    const feeds = net.feeds(5);
    const [before, after] = [
      await runOnce(net.model().encode(), feeds),
      await runOnce(result.bytes, feeds),
    ];
    for (const [output, { data, shape }] of before) {
      expect(after.get(output)!.shape).toEqual(shape);
      const now = after.get(output)!.data as Float32Array;
      // Recipes that round keep at least the tenth part of a value; four bits, with weights drawn at
      // random and few of them, a quarter.
      const decibelMin = name.startsWith("fp32") ? 100 : name.startsWith("int4") ? 12 : 20;
      expect(signalToNoise(data as Float32Array, now), output).toBeGreaterThan(decibelMin);
    }
  });

  it("int8-static ends in operators on codes under short names", async () => {
    const modelBytes = residual!.model().encode();
    const workbench = workbenchOf(() => [1, 2, 3].map(residual!.feeds));
    const result = await applyRecipe({ modelBytes, recipe: recipe("int8-static"), workbench });
    if (result.outcome !== "made") throw new Error(result.reason);
    const { graph } = Model.decode(result.bytes);
    const opTypes = graph.nodes.map(({ opType }) => opType);
    expect(opTypes).toContain("QLinearConv");
    expect(opTypes).not.toContain("Conv");
    expect(Math.max(...[...graph.initializers.keys()].map((name) => name.length))).toBe(1);
    const leftOut = result.journal.find(({ pass }) => pass === "quantize-recurrent")!;
    expect(leftOut.modified).toBe(false);
    expect(leftOut.report["leftOut"]).toContain("no LSTM, GRU or RNN");
  });

  it("int8-static quantizes an LSTM in passing", async () => {
    const modelBytes = recurrent!.model().encode();
    const workbench = workbenchOf(() => [1, 2, 3].map(recurrent!.feeds));
    const result = await applyRecipe({ modelBytes, recipe: recipe("int8-static"), workbench });
    if (result.outcome !== "made") throw new Error(result.reason);
    const opTypes = Model.decode(result.bytes).graph.nodes.map(({ opType }) => opType);
    expect(opTypes).toContain("DynamicQuantizeLSTM");
  });

  it("int8-dynamic says that it is not for a net of convolutions", async () => {
    const modelBytes = shapeWork!.model().encode();
    const result = await applyRecipe({ modelBytes, recipe: recipe("int8-dynamic") });
    expect(result).toMatchObject({ outcome: "not-applicable", pass: "quantize-dynamic" });
  });
});

describe("a recipe file with a fault", () => {
  const file = (body: string): string => `recipes:\n  - name: a\n    summary: s\n${body}`;
  it.each([
    ["not YAML", "recipes: [", "recipes"],
    ["an unknown pass", file("    passes: [{ pass: magic }]"), "names the pass magic"],
    [
      "an unknown option",
      file("    passes: [{ pass: convert-opset, options: { to: 9 } }]"),
      "convert-opset",
    ],
    [
      "an option out of range",
      file("    passes: [{ pass: convert-opset, options: { target: 99 } }]"),
      "target",
    ],
    [
      "a pair of types that nothing multiplies",
      file(
        "    passes: [{ pass: quantize-static, options: { activations: int8, weights: uint8 } }]",
      ),
      "no kernel multiplies int8 activations by uint8 weights",
    ],
    [
      "an unknown strategy",
      file("    passes: [{ pass: quantize-static, options: { rounding: { strategy: up } } }]"),
      "rounding",
    ],
    ["no passes", file("    passes: []"), "passes"],
    ["a bad name", file("    passes: [{ pass: float16 }]").replace("name: a", "name: A b"), "name"],
    ["an unknown field", file("    passes: [{ pass: float16 }]\n    speed: 1"), "speed"],
    ["too long", "#".repeat(200_001), "characters"],
  ])("%s", (_name, body, message) => {
    expect(() => parseRecipes(body)).toThrow(message);
    try {
      parseRecipes(body);
    } catch (error) {
      expect(error).toMatchObject({ code: "recipe-invalid" });
    }
  });

  it("a name twice", () => {
    const twice = `${file("    passes: [{ pass: float16 }]")}\n${file("    passes: [{ pass: float16 }]").replace("recipes:\n", "")}`;
    expect(() => parseRecipes(twice)).toThrow("occurs twice");
  });
});

describe("the driver", () => {
  const modelBytes = residual!.model().encode();

  it("makes the same bytes each time", async () => {
    const workbench = workbenchOf(() => [1, 2, 3].map(residual!.feeds));
    const make = async () => {
      const options = { modelBytes, recipe: recipe("int8-static"), workbench };
      const result = await applyRecipe(options);
      if (result.outcome !== "made") throw new Error(result.reason);
      return Buffer.from(result.bytes);
    };
    expect((await make()).equals(await make())).toBe(true);
  });

  it("needs calibration where a recipe does", async () => {
    await expect(applyRecipe({ modelBytes, recipe: recipe("int8-static") })).rejects.toMatchObject({
      code: "pass-failed",
    });
  });

  it("stops when it is told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(applyRecipe({ modelBytes, recipe: recipe("fp32-clean"), signal })).rejects.toThrow(
      "enough",
    );
  });

  it("refuses a broken file under the codec's code", async () => {
    const cut = modelBytes.subarray(0, 500);
    await expect(applyRecipe({ modelBytes: cut, recipe: recipe("fp16") })).rejects.toMatchObject({
      code: "onnx-truncated",
    });
  });
});

describe("the pass manager", () => {
  const broken = (name: string, edit: Partial<Parameters<typeof definePass>[0]>) =>
    definePass({
      name,
      summary: "breaks something",
      options: noOptions as z.ZodType,
      tolerance: exactTolerance,
      run: () => ({ modified: false, report: {} }),
      ...edit,
    }).bind({});

  it("names the pass that leaves a model unsound", async () => {
    const model = residual!.model();
    const pass = broken("cutter", {
      run(_context, edited) {
        edited.graph.removeNode(edited.graph.producerOf("y")!);
        return { modified: true, report: {} };
      },
    });
    await expect(runPasses({ model, passes: [pass] })).rejects.toMatchObject({
      code: "pass-failed",
      details: { pass: "cutter" },
    });
    expect(model.graph.producerOf("y")).toBeDefined();
  });

  it("names the pass that breaks its own promise, or lacks its condition", async () => {
    const model = residual!.model();
    const promise = broken("boaster", { ensures: () => "nothing was done" });
    await expect(runPasses({ model, passes: [promise] })).rejects.toThrow("boaster");
    const condition = broken("chooser", { requires: () => "opset 99 is needed" });
    await expect(runPasses({ model, passes: [condition] })).rejects.toThrow("opset 99");
  });

  it("lets our own bugs through as they are", async () => {
    const model = residual!.model();
    const bug = broken("bug", {
      run() {
        throw new TypeError("oops");
      },
    });
    await expect(runPasses({ model, passes: [bug] })).rejects.toThrow(TypeError);
  });
});
