/**
 * Notes mean and deviation of every channel that a linear node makes, on calibration data, in the model's
 * metadata: where `re-estimate-normalisation` finds them after other passes changed weights. Weights and
 * outputs stay as they are.
 */
import { FleetError } from "../../../shared/errors.ts";
import { observeChannels } from "../equalize/channel-ranges.ts";
import { recordStatistics, statisticsOf } from "../equalize/channel-statistics.ts";
import { madeByLinears } from "../equalize/normalise-channels.ts";
import { scaleFlow } from "../equalize/scale-flow.ts";
import { counted, definePass, exactTolerance, noOptions } from "../pass.ts";

export const recordNormalisation = definePass({
  name: "record-normalisation",
  summary: "Notes mean and deviation of channels, for passes that change weights afterwards.",
  options: noOptions,
  tolerance: exactTolerance,
  needsSamples: true,
  notApplicable(model) {
    const values = madeByLinears(scaleFlow(model.graph, { throughGates: false }));
    return values.size > 0 ? undefined : "no linear node has constant float32 weights";
  },
  async run({ workbench, signal }, model) {
    if (workbench === undefined) {
      throw new FleetError(
        "pass-failed",
        "it needs calibration data and there are none: add samples",
      );
    }
    const values = madeByLinears(scaleFlow(model.graph, { throughGates: false }));
    const ranges = await observeChannels({ model, values, workbench, signal });
    const statistics = new Map([...ranges].map(([name, each]) => [name, statisticsOf(each)]));
    const modified = recordStatistics(model, statistics);
    return { ...counted("recorded", statistics.size), modified };
  },
});
