/**
 * Adam with decoupled weight decay (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019,
 * algorithm 2) over flat buffers, so that one loop serves every weight of a model.
 *
 * Invariants: a step reads `gradients` and changes `parameters` in place; moments belong to the
 * optimizer; the result depends on the calls alone, so equal seeds give equal bytes.
 */
import { assert } from "../../shared/assert.ts";

export interface AdamOptions {
  /** Number of values in the flat buffers. */
  readonly count: number;
  /** Decay of the first moment; default 0.9 (the paper's). */
  readonly beta1?: number;
  /** Decay of the second moment; default 0.999 (the paper's). */
  readonly beta2?: number;
  /** Added to the root of the second moment; default 1e-8 (the paper's). */
  readonly epsilon?: number;
  /** Share of a weight that a step at learning rate 1 takes away; default 0. */
  readonly weightDecay?: number;
  /** 1 where weight decay applies and 0 elsewhere; default everywhere. */
  readonly decayMask?: Uint8Array;
}

export interface Optimizer {
  /** One step; all buffers are float32 [count]. */
  step(parameters: Float32Array, gradients: Float32Array, learningRate: number): void;
}

/** An optimizer with zero moments. */
export function createAdam(options: AdamOptions): Optimizer {
  const { count, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  const decayMask = options.decayMask ?? new Uint8Array(count).fill(1);
  const first = new Float32Array(count);
  const second = new Float32Array(count);
  let steps = 0;
  return {
    step(parameters, gradients, learningRate) {
      assert(parameters.length === count && gradients.length === count, "buffers differ in length");
      steps += 1;
      const rate = (learningRate * Math.sqrt(1 - beta2 ** steps)) / (1 - beta1 ** steps);
      // The paper's epsilon sits beside the bias-corrected root; here the root is not corrected.
      const shift = epsilon * Math.sqrt(1 - beta2 ** steps);
      const keep = learningRate * weightDecay;
      for (let index = 0; index < count; index++) {
        const gradient = gradients[index]!;
        const m = beta1 * first[index]! + (1 - beta1) * gradient;
        const v = beta2 * second[index]! + (1 - beta2) * gradient * gradient;
        first[index] = m;
        second[index] = v;
        const weight = parameters[index]!;
        const decayed = weight - keep * decayMask[index]! * weight;
        parameters[index] = decayed - (rate * m) / (Math.sqrt(v) + shift);
      }
    },
  };
}
