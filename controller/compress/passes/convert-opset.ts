/**
 * Moves a model to a newer version of ONNX's operator set, since exporters stopped at 9 or 11 and
 * per-channel quantization needs 13, 4-bit weights 21. How is said in `opset/raise-opset.ts`.
 */
import { z } from "zod";
import { opsetRange, raiseOpset } from "../opset/raise-opset.ts";
import { definePass, reorderTolerance } from "../pass.ts";

export const convertOpset = definePass({
  name: "convert-opset",
  summary: "Moves the model to a newer operator set.",
  options: z.strictObject({
    /** Version to reach; models that have it or a newer one are left alone. */
    target: z.int().min(opsetRange.min).max(opsetRange.max).default(13),
  }),
  // AveragePool 19 is another kernel than AveragePool 11 in onnxruntime.
  tolerance: reorderTolerance,
  requires(model) {
    if (model.opset >= opsetRange.min) return undefined;
    return `operator set ${opsetRange.min} or newer is needed, the model has ${model.opset}: export it again`;
  },
  async run({ workbench }, model, { target }) {
    const { from, to, converted } = await raiseOpset(model, target, workbench);
    return { modified: to > from, report: { from, to, converted } };
  },
  ensures(model, { target }) {
    return model.opset >= target ? undefined : `the operator set is ${model.opset}`;
  },
});
