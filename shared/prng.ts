/**
 * Seeded random numbers: the same seed gives the same sequence on every machine and Node version,
 * so data splits, simulations and trainings can be repeated exactly.
 *
 * Invariants: only integer arithmetic and exact float operations are used (no Math.log, Math.cos),
 * and the sequence of a seed never changes, because committed files were made from it. Not for secrets.
 */
import { assert } from "./assert.ts";

export interface Random {
  /** Uniform integer in [0, 2^32). */
  nextUint32(): number;
  /** Uniform double in [0, 1) with 32 random bits. */
  nextFloat(): number;
  /** Uniform integer in [0, bound), without modulo bias; bound is 1 … 2^32. */
  nextInt(bound: number): number;
}

const twoTo32 = 2 ** 32;

/**
 * A generator seeded with an integer (its low 32 bits count). Algorithm: xoshiro128** 1.1 by
 * Blackman and Vigna (2018), its state filled by splitmix32.
 */
export function seededRandom(seed: number): Random {
  assert(Number.isSafeInteger(seed), `seed must be an integer, got ${seed}`);
  const state = fillState(seed);
  const nextUint32 = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(state[1]!, 5), 7), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotateLeft(state[3]!, 11);
    return result;
  };
  return {
    nextUint32,
    nextFloat: () => nextUint32() / twoTo32,
    nextInt: (bound) => {
      assert(Number.isInteger(bound) && bound >= 1 && bound <= twoTo32, `bad bound ${bound}`);
      // Values from `limit` up would make small results likelier, so they are drawn again.
      const limit = twoTo32 - (twoTo32 % bound);
      for (;;) {
        const value = nextUint32();
        if (value < limit) return value % bound;
      }
    },
  };
}

/** A random permutation of 0 … count-1 (Fisher and Yates, Durstenfeld's form). */
export function permutation(random: Random, count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = random.nextInt(last + 1);
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  return order;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function fillState(seed: number): Uint32Array {
  let counter = seed >>> 0;
  return Uint32Array.from({ length: 4 }, () => {
    counter = (counter + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  });
}
