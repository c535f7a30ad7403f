/**
 * Every metric that is judged against truth, by the name that a golden set gives it. A new one is one
 * file and one line here. `agreement` compares with another model and has no truth, so it is none.
 */
import { z } from "zod";
import { detectionF1 } from "./detection-f1.ts";
import { macroF1 } from "./macro-f1.ts";
import { meanIou } from "./mean-iou.ts";
import type { Metric } from "./metric.ts";
import { rmse } from "./rmse.ts";
import { top1 } from "./top-1.ts";

const metrics = {
  "top-1": top1,
  "macro-f1": macroF1,
  rmse,
  "detection-f1": detectionF1,
  "mean-iou": meanIou,
} satisfies Record<string, Metric>;

type JudgedMetricName = keyof typeof metrics;
const judgedNames = Object.keys(metrics) as JudgedMetricName[];

export const metricNameSchema = z.enum([...judgedNames, "agreement"]);
export type MetricName = z.infer<typeof metricNameSchema>;

/** Undefined for metrics that are not judged against truth. */
export function metricOf(name: MetricName): Metric | undefined {
  return name === "agreement" ? undefined : metrics[name];
}
