/** Every gradient rule. A new operator is one file and one line here. */
import type { GradientRule } from "../gradient-rule.ts";
import { addGradient, divGradient, mulGradient, subGradient } from "./arithmetic.ts";
import { averagePoolGradient } from "./average-pool.ts";
import { batchNormalizationGradient } from "./batch-normalization.ts";
import { clipGradient } from "./clip.ts";
import { concatGradient } from "./concat.ts";
import { convGradient } from "./conv.ts";
import { gemmGradient } from "./gemm.ts";
import { globalAveragePoolGradient } from "./global-average-pool.ts";
import { layerNormalizationGradient } from "./layer-normalization.ts";
import { matMulGradient } from "./mat-mul.ts";
import { maxPoolGradient } from "./max-pool.ts";
import { reluGradient } from "./relu.ts";
import {
  flattenGradient,
  identityGradient,
  reshapeGradient,
  squeezeGradient,
  unsqueezeGradient,
} from "./same-values.ts";
import { sigmoidGradient } from "./sigmoid.ts";
import { logSoftmaxGradient, softmaxGradient } from "./softmax.ts";
import { tanhGradient } from "./tanh.ts";
import { transposeGradient } from "./transpose.ts";

const rules: readonly GradientRule[] = [
  addGradient,
  averagePoolGradient,
  batchNormalizationGradient,
  clipGradient,
  concatGradient,
  convGradient,
  divGradient,
  flattenGradient,
  gemmGradient,
  globalAveragePoolGradient,
  identityGradient,
  layerNormalizationGradient,
  logSoftmaxGradient,
  matMulGradient,
  maxPoolGradient,
  mulGradient,
  reluGradient,
  reshapeGradient,
  sigmoidGradient,
  softmaxGradient,
  squeezeGradient,
  subGradient,
  tanhGradient,
  transposeGradient,
  unsqueezeGradient,
];

/** Rules by operator type of the default domain. */
export const gradientRules: ReadonlyMap<string, GradientRule> = new Map(
  rules.map((rule) => [rule.opType, rule]),
);
