/** A recipe whose layers do not run as it meant: refused by name and reason, unless it allows it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import type { CompressionReport } from "../../controller/report/compression-report.ts";
import { seededRandom } from "../../shared/prng.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface } from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
afterAll(remove);

/** Two convolutions read what the first one makes: x86 runs no int8 activations of several readers. */
function branchedModelBytes(): Uint8Array {
  const random = seededRandom(7);
  const filled = (name: string, ...shape: number[]) => {
    const count = shape.reduce((product, length) => product * length, 1);
    const values = Array.from({ length: count }, () => random.nextFloat() - 0.5);
    return floatTensor(name, shape, values);
  };
  const layer = (opType: string, inputs: string[], output: string) =>
    makeNode({ opType, inputs, outputs: [output], name: `${output}_node` });
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          layer("Conv", ["x", "w1"], "first"),
          layer("Conv", ["first", "w2"], "left"),
          layer("Conv", ["first", "w3"], "right"),
          layer("Add", ["left", "right"], "sum"),
          layer("Flatten", ["sum"], "flat"),
          layer("Gemm", ["flat", "w4"], "y"),
        ],
        inputs: [makeValueInfo("x", "float32", ["n", 1, 8, 8])],
        outputs: [makeValueInfo("y", "float32", ["n", 4])],
        initializers: [
          filled("w1", 4, 1, 3, 3),
          filled("w2", 4, 4, 3, 3),
          filled("w3", 4, 4, 3, 3),
          filled("w4", 64, 4),
        ],
      }),
    }),
  );
}

const recipe = (name: string, allowFallback: boolean) => ({
  name,
  summary: "int8 activations",
  allowFallback,
  passes: [
    { pass: "constants-to-initializers" },
    { pass: "quantize-static", options: { activations: "int8" } },
    { pass: "compact" },
  ],
});

/** Arm multiplies int8 activations, so nothing falls back there. */
const fallen = process.arch === "x64" ? ["first_node", "left_node", "right_node"] : [];

describe("layers that fall back to float", () => {
  let report: CompressionReport;
  beforeAll(async () => {
    for (const [name, bytes] of Object.entries(tinyGolden()))
      writeFileSync(join(folder, name), bytes);
    writeFileSync(join(folder, "branched.onnx"), branchedModelBytes());
    writeFileSync(join(folder, "tiny.yaml"), stringify(tinyInterface));
    const recipes = [recipe("strict", false), recipe("lenient", true)];
    writeFileSync(join(folder, "recipes.yaml"), stringify({ recipes }));

    const {
      exitCode,
      out: printed,
      err,
    } = await fleetfitCommand([
      ...["compress", join(folder, "branched.onnx"), "--golden", join(folder, "golden.json")],
      ...["--interface", join(folder, "tiny.yaml"), "--out", join(folder, "variants")],
      ...["--recipe", join(folder, "recipes.yaml"), "--no-measure", "--json"],
    ]);
    expect(exitCode, err).toBe(0);
    report = JSON.parse(printed);
  });

  const found = (name: string) => report.variants.find(({ recipe: each }) => each === name)!;
  const why = "this processor runs no int8 activations";

  it("make the variant fail, with the layers and the reason", () => {
    const { status, reason, figures } = found("strict");
    if (fallen.length === 0) return expect(status).toBe("ready");
    expect([status, figures]).toEqual(["failed", null]);
    expect(reason).toContain("3 of 4 layers that recipe strict quantizes run in float here");
    for (const layer of fallen) expect(reason).toContain(`${layer}: ${why}`);
    expect(reason).toContain("allowFallback");
    const told = report.choice.reasons.find(({ recipe: each }) => each === "strict");
    expect(told).toMatchObject({ won: false, why: `failed: ${reason}` });
  });

  it("are told of a variant whose recipe allows them", () => {
    const { status, figures } = found("lenient");
    expect(status).toBe("ready");
    expect(figures?.fusion).toMatchObject({
      plannedLayers: 4,
      fellBack: fallen.map((layer) => ({ layer, reason: why })),
    });
    expect(figures?.sealed.n).toBeGreaterThan(0);
  });
});
