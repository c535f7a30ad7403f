/** All strategies for the scales of blocks. One line adds one. */
import { z } from "zod";
import { minMaxBlocks } from "./min-max.ts";
import { mseBlocks } from "./mse.ts";

export const blockScaleOption = z.discriminatedUnion("strategy", [minMaxBlocks, mseBlocks]);
