/**
 * A tokenizer.json, the file in which the Hugging Face libraries keep a tokenizer: read, checked, and
 * said in the words that `@huggingface/tokenizers` understands rightly. Nothing is tokenized here, so no
 * pattern of the file is run.
 *
 * Two pre-tokenizers are put right (version 0.2.0 of the package, held against the Rust library on 5,018
 * texts): it splits `Whitespace` by ASCII letters, and both kinds by JavaScript's idea of a blank.
 */
import { z } from "zod";
import { FleetError } from "../../errors.ts";
import { type ByteSource, readAll } from "../../ports/byte-source.ts";

/** Longest file, in bytes; vocabularies of 250,000 pieces in a hundred languages take about 17 MB. */
export const tokenizerBytesMax = 2 ** 25;

const idSchema = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

const isId = (value: unknown): boolean =>
  Number.isInteger(value) && idSchema.safeParse(value).success;

/** Checked in place: a copy of the longest vocabularies would take as much memory as they do. */
const vocabularySchema = z.custom<Readonly<Record<string, number>>>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every(isId),
  "a vocabulary is an object of whole numbers",
);
/** The place of a piece is its id. */
const piecesSchema = z.custom<readonly (readonly [string, number])[]>(
  (value) =>
    Array.isArray(value) &&
    value.every(
      (piece) =>
        Array.isArray(piece) && typeof piece[0] === "string" && typeof piece[1] === "number",
    ),
  "a vocabulary is a list of pieces with their scores",
);

const directionSchema = z.enum(["Left", "Right"]).default("Right");

const wordsSchema = z.looseObject({ vocab: vocabularySchema, unk_token: z.string() });
const tokenizerSchema = z.looseObject({
  model: z.discriminatedUnion("type", [
    wordsSchema.extend({ type: z.literal("WordLevel") }),
    wordsSchema.extend({ type: z.literal("WordPiece") }),
    z.looseObject({
      type: z.literal("BPE"),
      vocab: vocabularySchema,
      merges: z.array(z.unknown()),
    }),
    z.looseObject({ type: z.literal("Unigram"), vocab: piecesSchema }),
  ]),
  added_tokens: z
    .array(z.looseObject({ id: idSchema, content: z.string().min(1).max(256) }))
    .max(100_000)
    .default([]),
  normalizer: z.unknown().default(null),
  pre_tokenizer: z.unknown().default(null),
  post_processor: z.unknown().default(null),
  truncation: z.looseObject({ direction: directionSchema }).nullish(),
  padding: z.looseObject({ direction: directionSchema, pad_id: idSchema }).nullish(),
});
type Definition = z.infer<typeof tokenizerSchema>;

export interface TokenizerFile {
  /** What the package is given: the file without what it says of decoding. */
  readonly definition: Readonly<Record<string, unknown>>;
  readonly unknownToken: string | undefined;
  readonly padId: number;
  readonly padsLeft: boolean;
  readonly cutsLeft: boolean;
  /** Highest id that a text may become. */
  readonly idMax: number;
}

/** Errors: `too-large`, `tokenizer-invalid`. */
export function parseTokenizer(name: string, source: ByteSource): TokenizerFile {
  if (source.byteLength > tokenizerBytesMax) {
    throw new FleetError(
      "too-large",
      `${name} has ${source.byteLength} bytes; at most ${tokenizerBytesMax} are read`,
    );
  }
  const file = readDefinition(name, readAll(source));
  const { model, added_tokens, truncation, padding } = file;
  const padId = padding?.pad_id ?? padTokenId(file);
  if (padId === undefined) {
    throw invalid(name, "it names no token for padding: give it a `padding` section");
  }
  const unknownToken = "unk_token" in model ? (model.unk_token as string | undefined) : undefined;
  if (
    model.type !== "BPE" &&
    model.type !== "Unigram" &&
    !Object.hasOwn(model.vocab, model.unk_token)
  ) {
    throw invalid(name, `its vocabulary lacks ${model.unk_token}, the token of unknown words`);
  }
  return {
    definition: {
      ...file,
      pre_tokenizer: putRight(name, file.pre_tokenizer),
      decoder: null,
    },
    unknownToken,
    padId,
    padsLeft: padding?.direction === "Left",
    cutsLeft: truncation?.direction === "Left",
    idMax: highest(
      [padId],
      added_tokens.map(({ id }) => id),
      idsOf(model.vocab),
    ),
  };
}

function readDefinition(name: string, bytes: Uint8Array): Definition {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return tokenizerSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw invalid(name, cause instanceof z.ZodError ? z.prettifyError(cause) : "not JSON", cause);
  }
}

/** What files without a `padding` section call their pad: BERT's way, then SentencePiece's. */
function padTokenId({ model, added_tokens }: Definition): number | undefined {
  for (const pad of ["[PAD]", "<pad>"]) {
    const added = added_tokens.find(({ content }) => content === pad);
    if (added !== undefined) return added.id;
    if (!Array.isArray(model.vocab) && Object.hasOwn(model.vocab, pad)) {
      return (model.vocab as Readonly<Record<string, number>>)[pad];
    }
  }
  return undefined;
}

function idsOf(vocabulary: Definition["model"]["vocab"]): readonly number[] {
  return Array.isArray(vocabulary) ? [vocabulary.length - 1] : Object.values(vocabulary);
}

function highest(...lists: readonly (readonly number[])[]): number {
  return lists.flat().reduce((most, id) => Math.max(most, id), 0);
}

/** Letters as Rust's regex crate knows them: UTS #18, annex C, `\w`. */
const letters = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

const rightForms: Readonly<Record<string, object>> = {
  Whitespace: {
    type: "Split",
    pattern: { Regex: `[${letters}]+|[^${letters}\\s]+` },
    behavior: "Removed",
    invert: true,
  },
  WhitespaceSplit: {
    type: "Split",
    pattern: { Regex: "\\s+" },
    behavior: "Removed",
    invert: false,
  },
};

/** Sequences in sequences that are looked into; tokenizers have none or one. */
const nestingMax = 8;

function putRight(name: string, preTokenizer: unknown, nesting = 0): unknown {
  if (typeof preTokenizer !== "object" || preTokenizer === null) return preTokenizer;
  if (nesting > nestingMax) throw invalid(name, "its pre-tokenizers are nested too deep");
  const { type, pretokenizers } = preTokenizer as { type?: unknown; pretokenizers?: unknown };
  if (type === "Sequence" && Array.isArray(pretokenizers)) {
    const right = pretokenizers.map((inner) => putRight(name, inner, nesting + 1));
    return { ...preTokenizer, pretokenizers: right };
  }
  return typeof type === "string" && Object.hasOwn(rightForms, type)
    ? rightForms[type]
    : preTokenizer;
}

function invalid(name: string, why: string, cause?: unknown): FleetError {
  return new FleetError("tokenizer-invalid", `${name}: ${why}`, { cause });
}
