/** Golden sets out of real pictures: samples, labels, the interface, and what is refused. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import { decodeNpy } from "../../shared/evaluation/npy.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";

const { folder, remove } = temporaryFolder();
const photos = join(folder, "photos");
const model = join(folder, "colours.onnx");
afterAll(remove);

/** Answers which of red, green and blue is the strongest: a mean per channel. */
function colourModel(): Uint8Array {
  const outputs = [makeValueInfo("y", "float32", ["n", 3])];
  const nodes = [
    makeNode({ opType: "Conv", inputs: ["x", "w"], outputs: ["c"] }),
    makeNode({ opType: "GlobalAveragePool", inputs: ["c"], outputs: ["p"] }),
    makeNode({ opType: "Flatten", inputs: ["p"], outputs: ["y"] }),
  ];
  const identity = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes,
        outputs,
        inputs: [makeValueInfo("x", "float32", ["n", 3, 8, 8])],
        initializers: [floatTensor("w", [3, 3, 1, 1], identity)],
      }),
    }),
  );
}

const colours = { blue: [20, 30, 250], green: [10, 240, 20], red: [230, 5, 15] } as const;

beforeAll(async () => {
  writeFileSync(model, colourModel());
  for (const [name, [r, g, b]] of Object.entries(colours)) {
    mkdirSync(join(photos, name), { recursive: true });
    for (let at = 0; at < 12; at++) {
      const size = { width: 16 + at, height: 32, channels: 3 as const };
      const picture = sharp({ create: { ...size, background: { r, g, b } } });
      const kind = at % 2 === 0 ? "png" : "jpeg";
      writeFileSync(join(photos, name, `${at}.${kind}`), await picture.toFormat(kind).toBuffer());
    }
  }
});

const fleetfit = (...args: string[]) => fleetfitCommand(args);

const make = (out: string, ...flags: string[]) =>
  fleetfit(
    ...["golden", "from-images", photos, "--model", model, "--out", join(folder, out), ...flags],
  );

const arrayOf = (out: string, name: string) =>
  decodeNpy(new Uint8Array(readFileSync(join(folder, out, name))), name);
const jsonOf = (out: string, name: string) =>
  JSON.parse(readFileSync(join(folder, out, name), "utf8"));

describe("a folder per class", () => {
  it("becomes samples in the model's size, labels and the model's own pre-processing", async () => {
    const mean = ["--mean", "0.5,0.25,0", "--std", "0.5"];
    const { exitCode, err, out } = await make("golden", ...mean, "--json");
    expect(exitCode, err).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ pictures: 36, classes: 3, skipped: [] });
    const images = arrayOf("golden", "images.npy");
    expect(images.shape).toEqual([36, 8, 8, 3]);
    expect([...images.data.subarray(0, 3)]).toEqual([...colours.blue]);
    expect(arrayOf("golden", "labels.npy").shape).toEqual([36]);
    const { inputs, output } = jsonOf("golden", "interface.json");
    expect(output).toMatchObject({ kind: "classification", labels: ["blue", "green", "red"] });
    expect(inputs[0].steps).toEqual([
      { op: "cast", to: "float32" },
      { op: "affine", axis: 2, scale: Array(3).fill(1 / 255 / 0.5), offset: [-1, -0.5, 0] },
      { op: "transpose", order: [2, 0, 1] },
    ]);
  });

  it("is judged as it stands: the model that tells colours apart is right about all of them", async () => {
    writeFileSync(join(folder, "classes.txt"), "red\ngreen\nblue\n");
    await make("judged", "--classes", join(folder, "classes.txt"));
    const golden = join(folder, "judged");
    const { out, err } = await fleetfit(
      ...["compress", model, "--golden", join(golden, "golden.json")],
      ...["--interface", join(golden, "interface.json"), "--out", join(folder, "variants")],
      ...["--recipe", "fp32-clean", "--no-measure", "--json"],
    );
    expect(JSON.parse(out || "{}").variants?.[0].figures?.sealed.value, err).toBe(1);
  });

  it("keeps the order of colours that the model was trained with", async () => {
    await make("swapped", "--order", "bgr");
    const first = arrayOf("swapped", "images.npy").data.subarray(0, 3);
    expect([...first]).toEqual([...colours.blue].reverse());
  });
});

describe("a list of labels", () => {
  it("may name regions, which become slices", async () => {
    const lines = [
      "path,label,region",
      "red/0.png,red,eu",
      "blue/1.jpeg,blue,us",
      "red/2.png,red,us",
    ];
    writeFileSync(join(folder, "labels.csv"), lines.join("\n"));
    await make("listed", "--labels", join(folder, "labels.csv"));
    expect(jsonOf("listed", "golden.json").slices.region.names).toEqual(["eu", "us"]);
    expect([...new Int32Array(arrayOf("listed", "labels.npy").data.slice().buffer)]).toEqual([
      0, 1, 1,
    ]);
  });

  it("is refused with a label that is no class, and with a path that leads out of the folder", async () => {
    writeFileSync(join(folder, "bad.csv"), "red/0.png,purple\n");
    writeFileSync(join(folder, "classes.txt"), "red\ngreen\n");
    const flags = ["--labels", join(folder, "bad.csv"), "--classes", join(folder, "classes.txt")];
    const unknown = await make("none", ...flags);
    expect(unknown.err).toMatch(/golden-invalid.*label purple/);
    writeFileSync(join(folder, "bad.csv"), "../colours.onnx,red\n");
    expect((await make("none", ...flags)).err).toMatch(/golden-invalid.*line 1/);
  });
});

describe("what is no picture", () => {
  it("is refused by name, or left out and told when that is asked for", async () => {
    const broken = join(photos, "red", "broken.jpeg");
    const whole = readFileSync(join(photos, "red", "1.jpeg"));
    writeFileSync(broken, whole.subarray(0, whole.length / 2));
    const refused = await make("none");
    expect(refused.exitCode).toBe(1);
    expect(refused.err).toMatch(/golden-invalid.*red\/broken\.jpeg/);
    const { out } = await make("rest", "--skip-broken", "--json");
    expect(JSON.parse(out)).toMatchObject({
      pictures: 36,
      skipped: [{ path: "red/broken.jpeg", why: expect.any(String) }],
    });
  });

  it("is an empty folder too", async () => {
    const empty = join(folder, "empty");
    mkdirSync(empty);
    const { err } = await fleetfit(
      ...["golden", "from-images", empty, "--model", model, "--out", join(folder, "none")],
    );
    expect(err).toMatch(/golden-invalid.*one folder per class/);
  });
});
