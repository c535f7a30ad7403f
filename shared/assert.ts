/** Programmer errors. Kept on in production: a broken invariant must stop the program, not the fleet. */

/** Throws when our own code broke an invariant; never used for bad input from the world. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
