/**
 * A classifier of short commands in English and German: embeddings, their mean, two dense layers. Tokens come
 * in as int64 [N, 12]; 0 is the place that is left over, 1 a word that is not in the vocabulary. They are made
 * of text as a device makes them, by a tokenizer.json.
 */
import type { InputSpec } from "../../../../shared/artifact/bundle.ts";
import { assert } from "../../../../shared/assert.ts";
import { samplePreparer } from "../../../../shared/inference/processing/registry.ts";
import { textSample } from "../../../../shared/inference/processing/text.ts";
import { bytesInMemory } from "../../../../shared/ports/byte-source.ts";
import type { Random } from "../../../../shared/prng.ts";
import { createNet, dense, type Form } from "./net.ts";

export const textLength = 12;
export const languages = ["en", "de"] as const;
/** More than the longest command has. */
const textBytesMax = 256;
const width = 32;
const inner = 64;

/** `vocabulary` counts the words, the two special ones too. */
export function textNet(form: Form, vocabulary: number, classes: number): Uint8Array {
  const net = createNet({
    name: "commands",
    seed: 53,
    inputShape: ["N", textLength],
    inputType: form === "file" ? "int64" : "float32",
  });
  const table = net.weight("embeddings", [vocabulary, width], width);
  const embedded = form === "file" ? net.op("Gather", [table, "input"]) : lookUp();
  const channelsFirst = net.op("Transpose", [embedded], { perm: { ints: [0, 2, 1] } });
  const mean = net.op("Flatten", [net.op("GlobalAveragePool", [channelsFirst])]);
  const hidden = net.op("Relu", [
    dense(net, mean, { name: "hidden", inputs: width, outputs: inner }),
  ]);
  const logits = dense(net, hidden, { name: "head", inputs: inner, outputs: classes });
  return net.finish(logits, ["N", classes]);

  /** The same as Gather, of operators with gradients: rows with a single 1, times the table. */
  function lookUp(): string {
    const ids = net.op("Cast", ["input"], { to: { int: 7 } });
    const rows = net.op("OneHot", [ids, net.ints([vocabulary]), net.pair(0, 1)]);
    return net.op("MatMul", [rows, table]);
  }
}

/** Sentences with their intents, as pieces that are put together. */
interface Grammar {
  readonly intents: readonly (readonly string[])[];
  readonly fillers: Readonly<Record<string, readonly string[]>>;
}

const grammars: Readonly<Record<(typeof languages)[number], Grammar>> = {
  en: {
    intents: [
      ["turn on the LAMP in the ROOM", "switch the ROOM LAMP on", "light up the ROOM"],
      ["turn off the LAMP in the ROOM", "switch the ROOM LAMP off", "make the ROOM dark"],
      ["set the ROOM to NUMBER degrees", "make the ROOM warmer", "heat the ROOM to NUMBER"],
      ["play some KIND music", "put on KIND in the ROOM", "i want to hear KIND"],
      ["stop the KIND music", "pause the music in the ROOM", "silence in the ROOM"],
      ["wake me at NUMBER", "set an alarm for NUMBER", "alarm in NUMBER minutes"],
      ["how is the weather DAY", "will it rain DAY", "what is it like outside DAY"],
      ["open the blinds in the ROOM", "raise the ROOM blinds", "let light into the ROOM"],
    ],
    fillers: {
      ROOM: ["kitchen", "bedroom", "hall", "office", "bath", "garage"],
      LAMP: ["light", "lamp", "lights", "spot"],
      NUMBER: ["six", "seven", "eight", "ten", "twenty", "twelve"],
      KIND: ["jazz", "rock", "folk", "classical", "radio"],
      DAY: ["today", "tomorrow", "tonight", "monday", "sunday"],
    },
  },
  de: {
    intents: [
      ["mach die LAMP im ROOM an", "schalte LAMP im ROOM ein", "licht an im ROOM"],
      ["mach die LAMP im ROOM aus", "schalte LAMP im ROOM ab", "mach den ROOM dunkel"],
      ["stell den ROOM auf NUMBER grad", "mach es im ROOM waermer", "heize den ROOM auf NUMBER"],
      ["spiel etwas KIND musik", "leg im ROOM KIND auf", "ich will KIND hoeren"],
      ["stopp die KIND musik", "halte die musik im ROOM an", "ruhe im ROOM"],
      ["weck mich um NUMBER", "stell den wecker auf NUMBER", "wecker in NUMBER minuten"],
      ["wie wird das wetter DAY", "regnet es DAY", "wie ist es DAY draussen"],
      ["oeffne die rollos im ROOM", "rollos im ROOM hoch", "lass licht in den ROOM"],
    ],
    fillers: {
      ROOM: ["kueche", "schlafzimmer", "flur", "buero", "bad", "garage"],
      LAMP: ["lampe", "leuchte", "beleuchtung", "strahler"],
      NUMBER: ["sechs", "sieben", "acht", "zehn", "zwanzig", "zwoelf"],
      KIND: ["jazz", "rock", "volks", "klassik", "radio"],
      DAY: ["heute", "morgen", "abends", "montag", "sonntag"],
    },
  },
};

export const intentCount = grammars.en.intents.length;

export interface Command {
  readonly words: readonly string[];
  readonly intent: number;
  readonly language: number;
}

/** Chances, in percent, that a spoken word is lost, and that it is heard as another one of its language. */
const lostPercent = 12;
const mistakenPercent = 14;

/** `count` commands, languages and intents mixed, with the faults of a recogniser. */
export function commands(count: number, random: Random): Command[] {
  return Array.from({ length: count }, () => {
    const language = random.nextInt(languages.length);
    const { intents, fillers } = grammars[languages[language]!];
    const intent = random.nextInt(intents.length);
    const words = pick(intents[intent]!, random)
      .split(" ")
      .map((word) => (fillers[word] === undefined ? word : pick(fillers[word], random)));
    return { words: heard(words, wordsOf(language), random), intent, language };
  });
}

function heard(words: readonly string[], known: readonly string[], random: Random): string[] {
  return words.flatMap((word) => {
    const chance = random.nextInt(100);
    if (chance < lostPercent) return [];
    return [chance < lostPercent + mistakenPercent ? pick(known, random) : word];
  });
}

function wordsOf(language: number): string[] {
  const { intents, fillers } = grammars[languages[language]!];
  const fixed = intents.flat().flatMap((sentence) => sentence.split(" "));
  return [...new Set([...fixed, ...Object.values(fillers).flat()])].filter(
    (word) => fillers[word] === undefined,
  );
}

function pick<T>(from: readonly T[], random: Random): T {
  return from[random.nextInt(from.length)]!;
}

/** The words of a corpus, each once. */
export function wordsIn(corpus: readonly Command[]): string[] {
  return [...new Set(corpus.flatMap(({ words }) => words))].toSorted();
}

/** A tokenizer.json of words: 0 is what is left over, 1 any other word, then they follow in their order. */
export function tokenizerOf(words: readonly string[]): Uint8Array {
  const vocab = Object.fromEntries(["[PAD]", "[UNK]", ...words].map((word, id) => [word, id]));
  return new TextEncoder().encode(
    JSON.stringify({
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "WhitespaceSplit" },
      post_processor: null,
      decoder: null,
      model: { type: "WordLevel", vocab, unk_token: "[UNK]" },
    }),
  );
}

const asset = "tokenizer.json";
const textInput: InputSpec = {
  tensor: "input",
  sample: { dtype: "uint8", shape: [textBytesMax] },
  steps: [{ op: "tokenize", asset, length: textLength, yields: "ids" }],
};

/** [corpus, textLength] tokens, one command after the other. */
export function tokensOf(
  corpus: readonly Pick<Command, "words">[],
  tokenizer: Uint8Array,
): BigInt64Array<ArrayBuffer> {
  const prepare = samplePreparer({ inputs: [textInput] }, { [asset]: bytesInMemory(tokenizer) });
  const tokens = new BigInt64Array(corpus.length * textLength);
  for (const [at, { words }] of corpus.entries()) {
    const sample = textSample(words.join(" "), textBytesMax);
    assert(sample !== undefined, `a command is longer than ${textBytesMax} bytes`);
    tokens.set(prepare(textInput, sample).data as BigInt64Array, at * textLength);
  }
  return tokens;
}
