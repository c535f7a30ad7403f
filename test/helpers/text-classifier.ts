/** A classifier of short commands in English and German, its tokenizer and a golden set, all made here. */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor, intTensor } from "../../controller/onnx/tensor.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { textSample } from "../../shared/inference/processing/text.ts";
import { seededRandom } from "../../shared/prng.ts";

export const textBytes = 96;
export const textTokens = 8;
export const intents = ["light", "music", "weather"];
const languages = ["en", "de"] as const;

/** Place in the list is the id. `müsli` is normalised to `musli`, so it is stored without its accent. */
const vocabulary = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "light",
  "lamp",
  "##s",
  "music",
  "song",
  "weather",
  "rain",
  "licht",
  "kuche",
  "musik",
  "lied",
  "wetter",
  "regen",
  "the",
  "die",
  "in",
  ",",
  "!",
];

/** Class of the words that decide. */
const meaning: Readonly<Record<string, number>> = {
  light: 0,
  lamp: 0,
  licht: 0,
  music: 1,
  song: 1,
  musik: 1,
  lied: 1,
  weather: 2,
  rain: 2,
  wetter: 2,
  regen: 2,
};

/** BERT's: lower case without accents, WordPiece, [CLS] before and [SEP] after. */
export const tokenizerJson = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: {
    type: "BertNormalizer",
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
  },
};

export const tokenizerBytes = (change: object = {}): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(JSON.stringify({ ...tokenizerJson, ...change }));

const textInput = (tensor: string, yields: "ids" | "attention-mask") => ({
  tensor,
  sample: { dtype: "uint8" as const, shape: [textBytes] },
  steps: [{ op: "tokenize" as const, asset: "tokenizer.json", length: textTokens, yields }],
});

/** Two inputs of the same text, as a transformer takes them. */
export const textInterface: ModelInterface = {
  inputs: [textInput("ids", "ids"), textInput("mask", "attention-mask")],
  output: { kind: "classification", tensor: "y", scores: "softmax", labels: intents },
};

/** Numbers per token; the first of them vote for the intents, the others do nothing. */
const width = 64;

/** y = Σ mask · table[ids] · head, where the table knows what the deciding words mean. */
export function textModelBytes(rows = vocabulary.length): Uint8Array<ArrayBuffer> {
  const random = seededRandom(23);
  const table = Float32Array.from({ length: rows * width }, () => random.nextFloat() - 0.5);
  for (const [id, token] of vocabulary.slice(0, rows).entries()) {
    for (let intent = 0; intent < intents.length; intent++) {
      table[id * width + intent] = meaning[token] === intent ? 4 : 0;
    }
  }
  const head = Float32Array.from({ length: width * intents.length }, (_, at) =>
    at % (intents.length + 1) === 0 && at < intents.length ** 2 ? 1 : 0,
  );
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          makeNode({ opType: "Gather", inputs: ["table", "ids"], outputs: ["embedded"] }),
          makeNode({
            opType: "Cast",
            inputs: ["mask"],
            outputs: ["weights"],
            attributes: { to: { int: 1 } },
          }),
          makeNode({
            opType: "Reshape",
            inputs: ["weights", "row"],
            outputs: ["weightRow"],
          }),
          makeNode({ opType: "MatMul", inputs: ["weightRow", "embedded"], outputs: ["sums"] }),
          makeNode({ opType: "Flatten", inputs: ["sums"], outputs: ["flat"] }),
          makeNode({ opType: "Gemm", inputs: ["flat", "head", "bias"], outputs: ["y"] }),
        ],
        inputs: [
          makeValueInfo("ids", "int64", ["n", textTokens]),
          makeValueInfo("mask", "int64", ["n", textTokens]),
        ],
        outputs: [makeValueInfo("y", "float32", ["n", intents.length])],
        initializers: [
          floatTensor("table", [rows, width], table),
          intTensor("row", [-1, 1, textTokens]),
          floatTensor("head", [width, intents.length], head),
          floatTensor("bias", [intents.length], Float32Array.of(0, 0.1, 0.2)),
        ],
      }),
    }),
  );
}

const sentences: Readonly<Record<(typeof languages)[number], readonly (readonly string[])[]>> = {
  en: [
    ["the light, the kitchen!", "Lamps in the hall"],
    ["play the music", "a song, please"],
    ["how is the weather", "will it rain"],
  ],
  // No word of the vocabulary begins "Öllampe": one German sample of fifteen is beyond the model.
  de: [
    ["Licht in die Küche!", "die Öllampe an"],
    ["spiel Musik", "ein Lied, bitte"],
    ["wie wird das Wetter", "kommt Regen"],
  ],
};

/** Labelled sentences with their languages; the second of each intent is rarer. */
export function labelledTexts(count: number) {
  const random = seededRandom(19);
  return Array.from({ length: count }, () => {
    const slice = languages[random.nextInt(languages.length)]!;
    const intent = random.nextInt(intents.length);
    const text = sentences[slice][intent]![random.nextInt(10) < 8 ? 0 : 1]!;
    return { text, label: intents[intent]!, slice };
  });
}

/** Files of a golden set of texts with their languages, by name. */
export function textGolden(count = 600): Record<string, Uint8Array<ArrayBuffer>> {
  const labelled = labelledTexts(count);
  const texts = new Uint8Array(count * textBytes);
  for (const [at, { text }] of labelled.entries()) {
    texts.set(textSample(text, textBytes)!, at * textBytes);
  }
  const labels = Uint8Array.from(labelled, ({ label }) => intents.indexOf(label));
  const regions = Uint8Array.from(labelled, ({ slice }) => languages.indexOf(slice));
  const manifest = {
    format: "fleetfit-golden/1",
    name: "commands in two languages",
    inputs: { ids: { file: "texts.npy" }, mask: { file: "texts.npy" } },
    labels: { file: "labels.npy" },
    metric: { name: "top-1" },
    slices: { region: { file: "languages.npy", names: [...languages] } },
  };
  const file = (shape: number[], data: Uint8Array) =>
    Uint8Array.from(encodeNpy({ dtype: "uint8", shape, data }));
  return {
    "golden.json": new TextEncoder().encode(JSON.stringify(manifest)),
    "texts.npy": file([count, textBytes], texts),
    "labels.npy": file([count], labels),
    "languages.npy": file([count], regions),
  };
}
