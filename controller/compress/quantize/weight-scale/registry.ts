/** All strategies for weight scales. One line adds one. */
import { z } from "zod";
import { maxScale } from "./max.ts";

export const weightScaleOption = z.discriminatedUnion("strategy", [maxScale]);
