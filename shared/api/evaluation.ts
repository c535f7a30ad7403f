/** What was found out about a variant, and why a class chose it or did not. */
import { z } from "zod";

/** A share between 0 and 1 with its two-sided 95 % interval over n samples. */
export const scoreSchema = z
  .object({ value: z.number(), low: z.number(), high: z.number(), n: z.int().min(0) })
  .meta({ id: "Score" });

export const choiceReasonSchema = z
  .object({
    recipe: z.string(),
    won: z.boolean(),
    /** One sentence with the numbers. */
    why: z.string(),
  })
  .meta({ id: "ChoiceReason" });
