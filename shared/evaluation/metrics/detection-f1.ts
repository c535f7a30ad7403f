/**
 * F1 of the detections of one sample, averaged over samples. The model puts out rows of (x1, y1, x2,
 * y2, score, class), as many as it likes; targets are rows of (x1, y1, x2, y2, class), those of class
 * −1 are padding. A detection with a score of at least ½ finds the free target of its class that it
 * overlaps most, by an intersection over union of at least ½; the best scores choose first.
 */
import { FleetError } from "../../errors.ts";
import { meanMetric } from "./mean-metric.ts";

const overlapMin = 0.5;
const scoreMin = 0.5;
const detectionFields = 6;
const targetFields = 5;

type Row = Float32Array;

export const detectionF1 = meanMetric({
  truth: "targets",
  output: "tensors",
  says: "mean F1 of the detections",
  lossOf(at, answered, truth) {
    const found = rowsOf(answered.outputs[at] ?? new Float32Array(), detectionFields)
      .filter((row) => row[4]! >= scoreMin)
      .sort((a, b) => b[4]! - a[4]!);
    const wanted = rowsOf(truth.targets[at]!, targetFields).filter((row) => row[4]! >= 0);
    if (found.length + wanted.length === 0) return 0;
    return 1 - (2 * matches(found, wanted)) / (found.length + wanted.length);
  },
  rule: { valueAt: (loss) => 1 - loss, lossAt: (value) => 1 - value, linear: true },
});

function rowsOf(values: Float32Array, fields: number): Row[] {
  if (values.length % fields !== 0) {
    throw new FleetError("golden-mismatch", `${values.length} numbers are no rows of ${fields}`);
  }
  return Array.from({ length: values.length / fields }, (_, row) =>
    values.subarray(row * fields, (row + 1) * fields),
  );
}

function matches(found: readonly Row[], wanted: readonly Row[]): number {
  const free = new Set(wanted);
  for (const row of found) {
    let best: Row | undefined;
    let most = overlapMin;
    for (const target of free) {
      if (target[4] !== row[5]) continue;
      const overlap = overlapOf(row, target);
      if (overlap >= most) [best, most] = [target, overlap];
    }
    if (best !== undefined) free.delete(best);
  }
  return wanted.length - free.size;
}

/** Intersection over union of two boxes; 0 where one is empty or no number. */
function overlapOf(a: Row, b: Row): number {
  const width = Math.min(a[2]!, b[2]!) - Math.max(a[0]!, b[0]!);
  const height = Math.min(a[3]!, b[3]!) - Math.max(a[1]!, b[1]!);
  if (!(width > 0 && height > 0)) return 0;
  const area = (box: Row) => (box[2]! - box[0]!) * (box[3]! - box[1]!);
  return (width * height) / (area(a) + area(b) - width * height);
}
