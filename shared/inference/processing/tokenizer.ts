/**
 * Text to token ids, by `@huggingface/tokenizers`: one file of plain JavaScript without dependencies that
 * knows WordLevel, WordPiece, BPE and Unigram. It gives the ids of the Rust library (measured on 5,018
 * texts of nine languages and of noise: WordPiece and WordLevel all, Unigram all but one, BPE all but
 * those that hold U+0085 or U+FEFF). Cutting is ours: the package leaves it to its callers, and the
 * special tokens have to stay.
 */
import { Tokenizer as Package } from "@huggingface/tokenizers";
import { FleetError, isFleetError } from "../../errors.ts";
import type { TokenizerFile } from "./tokenizer-file.ts";

export interface Tokenizer {
  /** Ids of a text with its special tokens, at most `length` of them. Errors: `tokenizer-invalid`. */
  ids(text: string, length: number): readonly number[];
  readonly padId: number;
  readonly padsLeft: boolean;
}

/** What is used of the package, whose own types do not resolve. */
interface PackageTokenizer {
  /** Without special tokens. */
  tokenize(text: string): string[];
  token_to_id(token: string): number | undefined;
  readonly model: { readonly unk_token_id?: number };
  readonly post_processor:
    | ((tokens: string[], pair: null, special: boolean) => { tokens: string[] })
    | null;
}

/** Errors: `tokenizer-invalid` for what the package does not know. */
export function openTokenizer(name: string, file: TokenizerFile): Tokenizer {
  const opened = guarded(name, (): PackageTokenizer => {
    const config = { unk_token: file.unknownToken };
    return new Package(file.definition, config) as unknown as PackageTokenizer;
  });
  const { post_processor: withSpecial } = opened;
  const specialTokens = (tokens: string[]): string[] =>
    withSpecial === null ? tokens : withSpecial(tokens, null, true).tokens;
  const specialCount = guarded(name, () => specialTokens([]).length);
  const idOf = (token: string): number => {
    const id = opened.token_to_id(token) ?? opened.model.unk_token_id;
    if (id !== undefined) return id;
    throw new FleetError("tokenizer-invalid", `${name} has no id for ${JSON.stringify(token)}`);
  };
  return {
    padId: file.padId,
    padsLeft: file.padsLeft,
    ids: (text, length) =>
      guarded(name, () => {
        const tokens = opened.tokenize(text);
        const surplus = Math.max(0, tokens.length + specialCount - length);
        const kept = file.cutsLeft
          ? tokens.slice(surplus)
          : tokens.slice(0, Math.max(0, tokens.length - surplus));
        return specialTokens(kept).slice(0, length).map(idOf);
      }),
  };
}

/** The package throws what it happens to stumble over. */
function guarded<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (isFleetError(cause)) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FleetError("tokenizer-invalid", `${name}: ${why}`, { cause });
  }
}
