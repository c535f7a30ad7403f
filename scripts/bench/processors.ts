/** Compressed models on processors that this machine is not. */
import { compareProcessors } from "./compress/processors.ts";
import { sharedModel } from "./compress/subjects/shared-models.ts";
import type { Benchmark } from "./frame.ts";

/** A residual net, one of depthwise convolutions, and one over a single axis. */
const names = ["resnet8", "ds-cnn", "har"];

export const processorsBenchmark: Benchmark = {
  name: "processors",
  summary:
    "int8 files on x86 without VNNI and on Arm, emulated, against what was foretold for them",
  async run(say) {
    const subjects = await Promise.all(names.map((name) => sharedModel(name, say)));
    return compareProcessors(subjects, say);
  },
};
