/** All passes by name. One line adds a pass. */
import type { Pass } from "../pass.ts";
import { compact } from "./compact.ts";
import { constantsToInitializers } from "./constants-to-initializers.ts";
import { convertOpset } from "./convert-opset.ts";
import { equalizeCrossLayer } from "./equalize-cross-layer.ts";
import { equalizeGates } from "./equalize-gates.ts";
import { fixShapes } from "./fix-shapes.ts";
import { float16 } from "./float16.ts";
import { foldBatchNorm } from "./fold-batch-norm.ts";
import { foldChannelArithmetic } from "./fold-channel-arithmetic.ts";
import { foldConstants } from "./fold-constants.ts";
import { foldIntoNext } from "./fold-into-next.ts";
import { matMulAddToGemm } from "./matmul-add-to-gemm.ts";
import { mergeReshapes } from "./merge-reshapes.ts";
import { quantizeDynamic } from "./quantize-dynamic.ts";
import { quantizeMixed } from "./quantize-mixed.ts";
import { quantizeRecurrent } from "./quantize-recurrent.ts";
import { quantizeStatic } from "./quantize-static.ts";
import { quantizeWeights } from "./quantize-weights.ts";
import { reEstimateNormalisation } from "./re-estimate-normalisation.ts";
import { recognizeGelu } from "./recognize-gelu.ts";
import { recognizeHardSwish } from "./recognize-hard-swish.ts";
import { recognizeLayerNorm } from "./recognize-layer-norm.ts";
import { recordNormalisation } from "./record-normalisation.ts";
import { reduceMeanToPool } from "./reduce-mean-to-pool.ts";
import { removeDeadNodes } from "./remove-dead-nodes.ts";
import { removeIdentity } from "./remove-identity.ts";
import { smoothQuant } from "./smooth-quant.ts";
import { toQOperator } from "./to-qoperator.ts";
import { unshareWeights } from "./unshare-weights.ts";

export const passes: readonly Pass[] = [
  constantsToInitializers,
  fixShapes,
  foldConstants,
  removeIdentity,
  foldBatchNorm,
  foldChannelArithmetic,
  foldIntoNext,
  recognizeLayerNorm,
  recognizeGelu,
  recognizeHardSwish,
  matMulAddToGemm,
  mergeReshapes,
  reduceMeanToPool,
  unshareWeights,
  removeDeadNodes,
  convertOpset,
  float16,
  recordNormalisation,
  reEstimateNormalisation,
  equalizeCrossLayer,
  equalizeGates,
  smoothQuant,
  quantizeStatic,
  quantizeMixed,
  quantizeDynamic,
  quantizeWeights,
  quantizeRecurrent,
  toQOperator,
  compact,
];

/** A pass by its name, undefined when there is none. */
export function findPass(name: string): Pass | undefined {
  return passes.find((pass) => pass.name === name);
}
