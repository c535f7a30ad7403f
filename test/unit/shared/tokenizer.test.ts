/** Text to tokens: ids of the Rust library, lengths, and files that are not what they should be. */
import { describe, expect, it } from "vitest";
import type { InputStep } from "../../../shared/artifact/bundle.ts";
import { sampleBytes, samplePreparer } from "../../../shared/inference/processing/registry.ts";
import { textSample } from "../../../shared/inference/processing/text.ts";
import { tokenizerBytesMax } from "../../../shared/inference/processing/tokenizer-file.ts";
import { bytesInMemory } from "../../../shared/ports/byte-source.ts";
import { textTokens, tokenizerBytes, tokenizerJson } from "../../helpers/text-classifier.ts";

const bytesMax = 64;
const withCode = (code: string) => expect.objectContaining({ code });

function prepared(
  text: string | Uint8Array,
  change: object = {},
  step: Partial<Extract<InputStep, { op: "tokenize" }>> = {},
): number[] {
  const spec = {
    tensor: "ids",
    sample: { dtype: "uint8" as const, shape: [bytesMax] },
    steps: [
      {
        op: "tokenize" as const,
        asset: "tokenizer.json",
        length: textTokens,
        yields: "ids" as const,
        ...step,
      },
    ],
  };
  const assets = { "tokenizer.json": bytesInMemory(tokenizerBytes(change)) };
  const bytes = typeof text === "string" ? textSample(text, bytesMax)! : text;
  const sample = samplePreparer({ inputs: [spec] }, assets)(spec, bytes);
  expect(sample).toMatchObject({ dtype: "int64", shape: [step.length ?? textTokens] });
  return Array.from(sample.data, Number);
}

/** Without the pads at the end. */
const idsOf = (text: string, change?: object) =>
  prepared(text, change)
    .join(" ")
    .replace(/( 0)+$/, "");

describe("ids are those of the Rust library (tokenizers 0.23.2)", () => {
  it.each([
    ["Light, lamps!", "2 4 20 5 6 21 3"],
    ["LICHT in die Küche!", "2 11 19 18 12 21 3"],
    ["Ku\u0308che", "2 12 3"],
    ["weather 你 wetter", "2 9 1 15 3"],
    ["xylophone", "2 1 3"],
    ["a Öllampe", "2 1 1 3"],
    ["", "2 3"],
    ["  rain\t\n", "2 10 3"],
    ["light [PAD] [SEP] lamp", "2 4 0 3 5 3"],
    ["straße", "2 1 3"],
  ])("WordPiece in BERT's way: %j", (text, ids) => {
    expect(idsOf(text)).toBe(ids);
  });

  const wordLevel = (type: string) => ({
    normalizer: { type: "Lowercase" },
    pre_tokenizer: { type },
    model: {
      type: "WordLevel",
      unk_token: "[UNK]",
      vocab: {
        ...tokenizerJson.model.vocab,
        ...{ straße: 22, größer: 23, é: 24, don: 25, "'": 26, t: 27 },
      },
    },
  });
  it.each([
    ["Whitespace", "Straße größer, é!", "2 22 23 20 24 21 3"],
    ["Whitespace", "don't licht\u0085die", "2 25 26 27 11 18 3"],
    ["Whitespace", "lamp\ufefflamp", "2 5 1 5 3"],
    ["WhitespaceSplit", "Straße größer, é!", "2 22 1 1 3"],
    ["WhitespaceSplit", "don't licht\u0085die", "2 1 11 18 3"],
    ["WhitespaceSplit", "lamp\ufefflamp", "2 1 3"],
  ])("words by %s: %j", (type, text, ids) => {
    expect(idsOf(text, wordLevel(type))).toBe(ids);
    const sequence = { type: "Sequence", pretokenizers: [{ type }] };
    expect(idsOf(text, { ...wordLevel(type), pre_tokenizer: sequence })).toBe(ids);
  });
});

describe("a fixed number of tokens", () => {
  const text = "light music song rain lamp";
  const left = { direction: "Left", pad_id: 0 };

  it("cuts the text and keeps the special tokens", () => {
    expect(prepared(text, {}, { length: 5 })).toEqual([2, 4, 7, 8, 3]);
    expect(prepared(text, { truncation: left }, { length: 5 })).toEqual([2, 8, 10, 5, 3]);
    expect(prepared(text, {}, { length: 1 })).toEqual([2]);
  });

  it("pads to the right, or as the file says", () => {
    expect(prepared("light")).toEqual([2, 4, 3, 0, 0, 0, 0, 0]);
    const padding = { direction: "Right", pad_id: 7 };
    expect(prepared("light", { padding })).toEqual([2, 4, 3, 7, 7, 7, 7, 7]);
    expect(prepared("light", { padding: left })).toEqual([0, 0, 0, 0, 0, 2, 4, 3]);
  });

  it("yields the mask and the types of the same tokens", () => {
    const mask = { yields: "attention-mask" } as const;
    expect(prepared("light", {}, mask)).toEqual([1, 1, 1, 0, 0, 0, 0, 0]);
    expect(prepared("light", { padding: left }, mask)).toEqual([0, 0, 0, 0, 0, 1, 1, 1]);
    expect(prepared("light", {}, { yields: "token-types" })).toEqual(Array(8).fill(0));
  });
});

describe("what cannot be read is refused with a code", () => {
  const step = { op: "tokenize", asset: "t.json", length: 4, yields: "ids" } as const;
  const specOf = (dtype: "uint8" | "bool" | "float32", shape: number[]) => ({
    tensor: "ids",
    sample: { dtype, shape },
    steps: [step],
  });
  const opened = (spec: ReturnType<typeof specOf>, bytes = tokenizerBytes()) =>
    samplePreparer({ inputs: [spec] }, { "t.json": bytesInMemory(bytes) });

  it("bytes that are not UTF-8, and samples that are no text", () => {
    const latin = new Uint8Array(bytesMax);
    latin.set([0x4b, 0xfc, 0x63]);
    expect(() => prepared(latin)).toThrow(withCode("golden-mismatch"));
    for (const spec of [specOf("float32", [4]), specOf("bool", [4]), specOf("uint8", [2, 2])]) {
      const prepare = opened(spec);
      expect(() => prepare(spec, new Uint8Array(sampleBytes(spec)))).toThrow(
        withCode("golden-mismatch"),
      );
    }
  });

  const { model } = tokenizerJson;
  it.each<[string, object]>([
    ["another model", { model: { ...model, type: "Morse" } }],
    ["no vocabulary", { model: { ...model, vocab: undefined } }],
    ["an id that is none", { model: { ...model, vocab: { ...model.vocab, light: 1.5 } } }],
    ["an unknown word without a token", { model: { ...model, unk_token: "<gone>" } }],
    ["nothing to pad with", { added_tokens: [], model: { ...model, vocab: { "[UNK]": 0 } } }],
    ["an unknown normalizer", { normalizer: { type: "Rot13" } }],
    ["a pattern that is none", { normalizer: { type: "Replace", pattern: { Regex: "(" } } }],
    ["a template without its parts", { post_processor: { type: "TemplateProcessing" } }],
    ["pre-tokenizers in each other", { pre_tokenizer: nest(100) }],
  ])("a file with %s", (_, change) => {
    expect(() => prepared("light", change)).toThrow(withCode("tokenizer-invalid"));
  });

  it("a file that is missing, no JSON, or too long", () => {
    const spec = specOf("uint8", [4]);
    expect(() => samplePreparer({ inputs: [spec] }, {})).toThrow(withCode("artifact-missing"));
    for (const bytes of [Uint8Array.of(0x7b), tokenizerBytes().subarray(0, 400)]) {
      expect(() => opened(spec, bytes)).toThrow(withCode("tokenizer-invalid"));
    }
    const long = new Uint8Array(tokenizerBytesMax + 1);
    expect(() => opened(spec, long)).toThrow(withCode("too-large"));
  });
});

function nest(depth: number): unknown {
  let inner: unknown = { type: "WhitespaceSplit" };
  for (let at = 0; at < depth; at++) inner = { type: "Sequence", pretokenizers: [inner] };
  return inner;
}
