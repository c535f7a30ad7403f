/**
 * Gives every channel the mean and deviation back that it had when statistics were recorded: after pruning
 * or any other change of weights, or when data are not what they were.
 *
 * 1. Values with a record (`record-normalisation`): weight and bias of the linear node that makes them are
 *    corrected, layer by layer, on calibration data. The record is taken out.
 * 2. With `batchNorm`: BatchNormalization [C] in front of which data have shifted. Its mean and variance are
 *    replaced by those of its input on calibration data, one after the other.
 * 3. Statistics within a hundredth of a deviation are right, and what has no record stays.
 *
 * Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, arXiv 1603.04779
 * (case 2); Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2 (case 1: expected means).
 */
import { z } from "zod";
import { FleetError } from "../../../shared/errors.ts";
import { recordedStatistics, recordStatistics } from "../equalize/channel-statistics.ts";
import { normaliseChannels } from "../equalize/normalise-channels.ts";
import { reEstimateBatchNorms } from "../equalize/re-estimate-batch-norms.ts";
import { scaleFlow } from "../equalize/scale-flow.ts";
import { definePass } from "../pass.ts";

const options = z.strictObject({
  /** Also replace the statistics of BatchNormalization nodes by those of the calibration data. */
  batchNorm: z.boolean().default(false),
});

export const reEstimateNormalisation = definePass({
  name: "re-estimate-normalisation",
  summary: "Gives channels the mean and deviation that were recorded before weights changed.",
  options,
  // Outputs are meant to change, towards those of the recorded model.
  tolerance: { kind: "signal", decibelMin: 0 },
  needsSamples: true,
  notApplicable(model, { batchNorm }) {
    if (recordedStatistics(model) !== undefined) return undefined;
    if (batchNorm && model.graph.nodes.some((node) => node.is("BatchNormalization"))) {
      return undefined;
    }
    return "no statistics are recorded: run record-normalisation before weights change";
  },
  async run({ workbench, signal }, model, { batchNorm }) {
    if (workbench === undefined) {
      throw new FleetError(
        "pass-failed",
        "it needs calibration data and there are none: add samples",
      );
    }
    const wanted = recordedStatistics(model) ?? new Map();
    const hadRecord = recordStatistics(model, undefined);
    const batchNorms = batchNorm ? await reEstimateBatchNorms({ model, workbench, signal }) : 0;
    const flow = scaleFlow(model.graph, { throughGates: false });
    const layers = await normaliseChannels({ model, flow, wanted, workbench, signal });
    return {
      modified: hadRecord || layers + batchNorms > 0,
      report: { recorded: wanted.size, layers, batchNorms },
    };
  },
});
