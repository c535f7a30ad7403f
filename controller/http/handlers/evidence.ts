/** The evidence of rollouts. */
import type { evidenceRoutes } from "../../../shared/api/routes/evidence.ts";
import { ledgerRows } from "../../rollout/evidence/store.ts";
import { evidenceOf, strataOf } from "../../rollout/evidence/view.ts";
import { rolloutRow } from "../../rollout/views.ts";
import type { Handlers } from "./handler.ts";

export const evidenceHandlers: Handlers<keyof typeof evidenceRoutes> = {
  getEvidence: ({ ctx }, { params }) => evidenceOf(ctx.db, params.rollout),
  getStrata: ({ ctx }, { params }) => strataOf(ctx.db, params.rollout),
  async getLedger({ ctx }, { params, query }) {
    await rolloutRow(ctx.db, params.rollout);
    const rows = await ledgerRows(ctx.db, params.rollout, query);
    return { rows: rows.map(({ body, ...row }) => ({ ...row, body: { ...body } })) };
  },
};
