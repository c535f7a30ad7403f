/** What the person does for whom a rollout waits; a rule, so that a seed gives the same run every time. */
import type { ControllerContext } from "../../../controller/context.ts";
import { rolloutRow, stateOf } from "../../../controller/rollout/views.ts";

/** Whether the person lets a rollout go on that waits for one. */
type Rule = (ctx: ControllerContext, rollout: string) => Promise<boolean>;

/** The stage ended as it should, and no device of the rollout said anything against the release. */
const quiet: Rule = async (ctx, rollout) => {
  const { history } = stateOf(await rolloutRow(ctx.db, rollout));
  if (history.at(-1)?.event !== "stage-ready") return false;
  const { against } = await ctx.db
    .selectFrom("rolloutMembers")
    .leftJoin("attempts", (join) =>
      join
        .onRef("attempts.rollout", "=", "rolloutMembers.rollout")
        .onRef("attempts.device", "=", "rolloutMembers.device"),
    )
    .select((eb) => eb.fn.countAll<number>().as("against"))
    .where("rolloutMembers.rollout", "=", rollout)
    .where((eb) =>
      eb.or([eb("attempts.outcome", "=", "rolled-back"), eb("rolloutMembers.soak", "=", "harmed")]),
    )
    .executeTakeFirstOrThrow();
  return against === 0;
};

export const operators = {
  /** Nobody ever answers: what reaches the fleet is the product's doing alone. */
  absent: async () => false,
  /** Promotes when nothing was said against the release. */
  trusting: quiet,
} satisfies Record<string, Rule>;
export type OperatorName = keyof typeof operators;
