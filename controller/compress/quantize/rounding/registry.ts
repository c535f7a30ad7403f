/** All ways of rounding weights. One line adds one. */
import { z } from "zod";
import { nearest } from "./nearest.ts";

export const roundingOption = z.discriminatedUnion("strategy", [nearest]);
