/**
 * The steps in which a processor's kernels take channels, read from its cost table. Floats are computed in
 * blocks of 16 or 8 channels, so 56 channels cost what 64 do, or less; codes are read four at a time, and
 * an input that is no multiple of four takes a slower way.
 *
 * Source: onnxruntime 1.30, mlas/lib/platform.cpp (NchwcBlockSize) and convsym.cpp
 * (KernelInputChannelAlignment) for why there are steps; the table for how large they are.
 */
import type { CostTable } from "../../../shared/inference/cost-table.ts";

export interface ChannelSteps {
  /** Channels of a float convolution that cost as much as the next multiple. */
  readonly float32Multiple: 16 | 8;
  /** Input channels of an int8 convolution should be a multiple of this. */
  readonly int8Multiple: 4;
  /** Time of an int8 convolution whose input channels are not, over that of the next that are. */
  readonly int8UnalignedFactor: number;
}

/** Squared share of 56 channels in 64, and 1: half way between tells which of both a processor shows. */
const blockOf16From = ((56 / 64) ** 2 + 1) / 2;

/** Undefined for a table without the sizes that tell. */
export function channelSteps(table: CostTable): ChannelSteps | undefined {
  const timeOf = (type: "float32" | "int8", channels: number): number | undefined =>
    table.entries.find(
      (entry) =>
        entry.operator === "conv-3x3" && entry.type === type && entry.channels === channels,
    )?.timeNs;
  const [float56, float64] = [timeOf("float32", 56), timeOf("float32", 64)];
  const [codes62, codes64] = [timeOf("int8", 62), timeOf("int8", 64)];
  if (float56 === undefined || !float64 || codes62 === undefined || !codes64) return undefined;
  return {
    float32Multiple: float56 / float64 > blockOf16From ? 16 : 8,
    int8Multiple: 4,
    int8UnalignedFactor: Math.max(codes62 / codes64, 1),
  };
}
