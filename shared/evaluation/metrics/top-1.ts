/** Share of samples whose highest score is the label. */
import { shareMetric } from "./share-metric.ts";

export const top1 = shareMetric({
  truth: "labels",
  output: "classification",
  says: "right answers",
  lossOf: (at, answered, truth) => (answered.top1[at] === truth.labels[at] ? 0 : 1),
});
