/** Golden sets out of labelled texts, and what the command line does with them: a plain file, and a controller. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningController } from "../../controller/controller.ts";
import { decodeNpy } from "../../shared/evaluation/npy.ts";
import { textOf } from "../../shared/inference/processing/text.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import {
  labelledTexts,
  textInterface,
  textModelBytes,
  tokenizerBytes,
} from "../helpers/text-classifier.ts";

const { folder, remove } = temporaryFolder();
const model = join(folder, "commands.onnx");
const tokenizer = join(folder, "tokenizer.json");
const lines = labelledTexts(400);
let controller: RunningController | undefined;

beforeAll(() => {
  writeFileSync(model, textModelBytes());
  writeFileSync(tokenizer, tokenizerBytes());
});
afterAll(async () => {
  await controller?.stop();
  remove();
});

const fleetfit = (...args: string[]) => fleetfitCommand(args, join(folder, "controller"));

const make = (rows: readonly unknown[], out: string, ...flags: string[]) => {
  const texts = join(folder, "texts.jsonl");
  writeFileSync(texts, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  const files = ["--model", model, "--tokenizer", tokenizer, "--out", join(folder, out)];
  return fleetfit("golden", "from-texts", texts, ...files, ...flags);
};
const at = (...names: string[]) => join(folder, "golden", ...names);
const jsonOf = (...names: string[]) => JSON.parse(readFileSync(at(...names), "utf8"));

describe("lines of labelled texts", () => {
  it("become samples, labels, slices, and the interface with the tokenizer beside it", async () => {
    const { exitCode, err } = await make(lines, "golden", "--bytes", "96");
    expect(exitCode, err).toBe(0);
    const texts = decodeNpy(new Uint8Array(readFileSync(at("texts.npy"))), "texts.npy");
    expect(texts).toMatchObject({ dtype: "uint8", shape: [400, 96] });
    expect(textOf(texts.data.subarray(96, 192))).toBe(lines[1]!.text);
    expect(jsonOf("golden.json")).toMatchObject({
      inputs: { ids: { file: "texts.npy" }, mask: { file: "texts.npy" } },
      slices: { region: { names: ["de", "en"] } },
    });
    const { inputs, output } = jsonOf("interface.json");
    expect(inputs).toEqual(textInterface.inputs);
    expect(output.labels).toEqual(["light", "music", "weather"]);
    expect(new Uint8Array(readFileSync(at("tokenizer.json")))).toEqual(tokenizerBytes());
  });

  it("are what a plain file is compressed and timed with", async () => {
    const { exitCode, out, err } = await fleetfit(
      ...["compress", model, "--golden", at("golden.json"), "--interface", at("interface.json")],
      ...["--recipe", "int8-weights", "--out", at("variants"), "--json"],
    );
    expect(exitCode, err).toBe(0);
    const [variant] = JSON.parse(out).variants;
    expect(variant.figures.sealed.value).toBeGreaterThan(0.9);
    expect(variant.figures.latency.p50Ms).toBeGreaterThan(0);
    expect(readdirSync(at("variants", "int8-weights"))).toContain("tokenizer.json");
    const { files } = jsonOf("variants", "int8-weights", "bundle.json");
    expect(files).toMatchObject([{ role: "model" }, { role: "asset", name: "tokenizer.json" }]);
  });

  it("are taken in by a controller with their tokenizer, which the interface names", async () => {
    controller = await startTestController(join(folder, "controller"));
    const args = [
      ...["model", "import", model, "--name", "commands", "--version", "1", "--json"],
      ...["--golden", at("golden.json"), "--interface", at("interface.json")],
    ];
    const { exitCode, out, err } = await fleetfit(...args);
    expect(exitCode, err).toBe(0);
    expect(JSON.parse(out).assets).toMatchObject([{ name: "tokenizer.json" }]);
    rmSync(at("tokenizer.json"));
    expect(await fleetfit(...args)).toMatchObject({
      exitCode: 1,
      err: expect.stringMatching(/file-unusable.*tokenizer\.json/s),
    });
  });
});

describe("are refused, with the line", () => {
  it.each<[string, unknown[], string[], RegExp]>([
    ["without a label", [...lines, { text: "x" }], [], /golden-invalid.*line 401/s],
    ["with a slice for some", [...lines, { text: "x", label: "light" }], [], /some texts have/],
    ["of a class that nobody named", lines, ["--classes", "classes.txt"], /has label/],
    ["longer than the samples", lines, ["--bytes", "8"], /line \d+ has more than 8 bytes/],
    ["none at all", [], [], /there is no text/],
    ["for a number that is none", lines, ["--length", "1.5"], /whole number/],
  ])("texts %s", async (_, rows, flags, why) => {
    writeFileSync(join(folder, "classes.txt"), "music\nweather\n");
    const named = flags.map((flag) => (flag === "classes.txt" ? join(folder, flag) : flag));
    const { exitCode, err } = await make(rows, "refused", ...named);
    expect(exitCode).not.toBe(0);
    expect(err).toMatch(why);
  });

  it("a tokenizer that is none", async () => {
    const { err } = await fleetfit(
      ...["golden", "from-texts", join(folder, "texts.jsonl"), "--model", model],
      ...["--tokenizer", model, "--out", join(folder, "refused")],
    );
    expect(err).toContain("tokenizer-invalid");
  });
});
