/** The kill switch. */
import type { holdRoutes } from "../../../shared/api/routes/holds.ts";
import { changeHold, listHolds } from "../../fleet/holds.ts";
import type { Handlers } from "./handler.ts";

export const holdHandlers: Handlers<keyof typeof holdRoutes> = {
  changeHold: ({ ctx }, { body }) => changeHold(ctx, body),
  async listHolds({ ctx }) {
    return { holds: await listHolds(ctx) };
  },
};
