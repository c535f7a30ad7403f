/**
 * The fewest layers that must stay float so that a quantized model meets a floor, found with a bounded
 * number of evaluations.
 *
 * 1. All layers quantized: when that meets the floor nothing more is tried.
 * 2. Sensitivity: each layer alone stays float, and the noise at the outputs that this takes away is its
 *    rank. Where the bound leaves no evaluation per layer, neighbours are tried together.
 * 3. The shortest beginning of the ranking that meets the floor, by bisection: adding a layer that stays
 *    float is taken to never make the model worse.
 * 4. With what is left of the bound each chosen layer, the least sensitive first, is tried in integers again.
 *
 * Invariant: the answer was evaluated itself; how often is never more than `evaluationsMax`, so a search
 * repeats exactly whatever the machine's speed.
 */

/** How well a candidate answers. */
export interface Quality {
  /** Noise over signal at the outputs, against the float model; 0 at best. */
  readonly noise: number;
  /** What it misses of the floor, in words; empty when it meets it. */
  readonly misses: readonly string[];
}

export interface Sensitivity {
  /** Layers that were tried together; mostly one. */
  readonly layers: readonly string[];
  /** Noise over signal when they alone stay float. */
  readonly noise: number;
}

export interface FewestFloatLayers {
  readonly float: readonly string[];
  readonly quality: Quality;
  /** Most sensitive first; empty when all layers may be quantized. */
  readonly sensitivities: readonly Sensitivity[];
  readonly evaluations: number;
}

export interface SearchOptions {
  /** Layers that would be quantized, in topological order. */
  readonly layers: readonly string[];
  /** At least 3. */
  readonly evaluationsMax: number;
  /** Quality of the model in which these layers stay float. */
  readonly evaluate: (float: readonly string[]) => Promise<Quality>;
  /** The same on few samples, for ranking alone. */
  readonly rank: (float: readonly string[]) => Promise<number>;
}

export async function fewestFloatLayers(options: SearchOptions): Promise<FewestFloatLayers> {
  const search = new Search(options);
  const whole = await search.evaluate([]);
  if (whole.misses.length === 0 || options.layers.length === 0) {
    return { float: [], quality: whole, sensitivities: [], evaluations: search.evaluations };
  }
  const sensitivities = await search.sensitivities();
  const ranked = sensitivities.flatMap(({ layers }) => layers);
  const shortest = await search.shortest(ranked);
  const { float, quality } = await search.without(shortest);
  return { float, quality, sensitivities, evaluations: search.evaluations };
}

interface Chosen {
  readonly float: readonly string[];
  readonly quality: Quality;
}

class Search {
  readonly #options: SearchOptions;
  evaluations = 0;

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  evaluate(float: readonly string[]): Promise<Quality> {
    this.evaluations++;
    return this.#options.evaluate(float);
  }

  async sensitivities(): Promise<Sensitivity[]> {
    const { layers, rank } = this.#options;
    const room = Math.max(1, this.#left - bisections(layers.length));
    const size = Math.ceil(layers.length / room);
    const found: Sensitivity[] = [];
    for (let from = 0; from < layers.length; from += size) {
      const together = layers.slice(from, from + size);
      this.evaluations++;
      found.push({ layers: together, noise: await rank(together) });
    }
    return found.toSorted((a, b) => a.noise - b.noise);
  }

  /** All of `ranked` when no beginning meets the floor before the bound is reached. */
  async shortest(ranked: readonly string[]): Promise<Chosen> {
    let best: Chosen | undefined;
    let [low, high] = [1, ranked.length];
    while (low <= high && this.#left > (best === undefined ? 1 : 0)) {
      const middle = (low + high) >> 1;
      const float = ranked.slice(0, middle);
      const quality = await this.evaluate(float);
      if (quality.misses.length === 0) {
        best = { float, quality };
        high = middle - 1;
      } else low = middle + 1;
    }
    return best ?? { float: ranked, quality: await this.evaluate(ranked) };
  }

  async without(chosen: Chosen): Promise<Chosen> {
    let kept = chosen;
    if (chosen.quality.misses.length > 0) return kept;
    for (const layer of chosen.float.slice(0, -1).toReversed()) {
      if (this.#left <= 0) break;
      const float = kept.float.filter((name) => name !== layer);
      const quality = await this.evaluate(float);
      if (quality.misses.length === 0) kept = { float, quality };
    }
    return kept;
  }

  get #left(): number {
    return this.#options.evaluationsMax - this.evaluations;
  }
}

/** Evaluations that a bisection over `count` layers takes, and the one at its end. */
const bisections = (count: number) => Math.ceil(Math.log2(count + 1)) + 1;
