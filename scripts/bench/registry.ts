/** All benchmarks: a new one is one file and one line here. */
import { compressBenchmark } from "./compress.ts";
import { costsBenchmark } from "./costs.ts";
import { crashBenchmark } from "./crash.ts";
import { flashBenchmark } from "./flash.ts";
import type { Benchmark } from "./frame.ts";
import { killBenchmark } from "./kill.ts";
import { loadBenchmark } from "./load.ts";
import { onnxCodec } from "./onnx-codec.ts";
import { menderBenchmark } from "./peers/mender.ts";
import { prepareBenchmark } from "./prepare.ts";
import { processorsBenchmark } from "./processors.ts";
import { simulateBenchmark } from "./simulate.ts";
import { skewBenchmark } from "./skew.ts";
import { verdictsBenchmark } from "./verdicts.ts";

export const benchmarks: readonly Benchmark[] = [
  onnxCodec,
  killBenchmark,
  compressBenchmark,
  prepareBenchmark,
  processorsBenchmark,
  costsBenchmark,
  crashBenchmark,
  verdictsBenchmark,
  flashBenchmark,
  skewBenchmark,
  menderBenchmark,
  simulateBenchmark,
  loadBenchmark,
];
