/**
 * Root mean squared error against real targets, as 1 − RMSE / scale, where an error of `scale` is
 * worthless. The squared error of one sample counts up to scale², which bounds what a test must carry:
 * one wild sample is one lost sample, not the mean.
 */
import { FleetError } from "../../errors.ts";
import { meanMetric } from "./mean-metric.ts";

export const rmse = meanMetric({
  truth: "targets",
  output: "tensors",
  says: "1 − RMSE / scale",
  lossOf(at, answered, { targets, scale }) {
    const [output, target] = [answered.outputs[at], targets[at]!];
    if (output?.length !== target.length) {
      throw new FleetError(
        "golden-mismatch",
        `the model puts out ${output?.length ?? 0} numbers, the target of a sample has ${target.length}`,
      );
    }
    const squares = target.reduce((sum, value, index) => sum + (output[index]! - value) ** 2, 0);
    const loss = squares / target.length / scale ** 2;
    return Number.isFinite(loss) ? Math.min(1, loss) : 1;
  },
  rule: {
    valueAt: (loss) => 1 - Math.sqrt(loss),
    lossAt: (value) => (1 - value) ** 2,
    linear: false,
  },
});
