/** Randomness as an argument, so that simulations replay from a seed. */

export interface Random {
  /** Cryptographically strong in production. */
  bytes(count: number): Uint8Array;
  /** Uniform in [0, 1). */
  fraction(): number;
}
