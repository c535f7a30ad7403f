/**
 * Sets of integers that are only ever joined: union-find with path halving (Tarjan and van Leeuwen,
 * JACM 31, 1984).
 */
export class DisjointSets {
  readonly #parents: number[] = [];

  get size(): number {
    return this.#parents.length;
  }

  /** A new set of one; returns its member. */
  add(): number {
    return this.#parents.push(this.#parents.length) - 1;
  }

  /** The member that stands for the set. */
  find(member: number): number {
    let at = member;
    while (this.#parents[at] !== at) {
      this.#parents[at] = this.#parents[this.#parents[at]!]!;
      at = this.#parents[at]!;
    }
    return at;
  }

  join(left: number, right: number): void {
    const [first, second] = [this.find(left), this.find(right)];
    // The smaller one stands for both, so that results do not depend on the order of joining.
    this.#parents[Math.max(first, second)] = Math.min(first, second);
  }
}
