/**
 * Undoes broadcasting: an input that was stretched over axes receives the sum of the gradient over
 * them (ONNX "Broadcasting in ONNX", multidirectional, NumPy rules).
 */
import type { GraphWriter } from "../gradient-rule.ts";

/**
 * Sums `gradient` of shape `from` down to shape `to`, which broadcasts to `from`. Returns the same
 * name when the shapes are equal.
 */
export function sumToShape(
  write: GraphWriter,
  gradient: string,
  from: readonly number[],
  to: readonly number[],
): string {
  const missing = from.length - to.length;
  const axes = from.flatMap((size, axis) => {
    const target = axis < missing ? 1 : to[axis - missing]!;
    return size !== target || axis < missing ? [axis] : [];
  });
  if (axes.length === 0) return gradient;
  const summed = write.emit("ReduceSum", [gradient, write.ints(axes)], { keepdims: { int: 1 } });
  return missing === 0 ? summed : write.emit("Reshape", [summed, write.ints(to)]);
}
