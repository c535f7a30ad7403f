/** Soaks and label requests. */
import type { soakRoutes } from "../../../shared/api/routes/soaks.ts";
import { answerLabelRequest, getLabelRequest, listLabelRequests } from "../../soak/labels.ts";
import { listSoaks } from "../../soak/reports.ts";
import type { Handlers } from "./handler.ts";

export const soakHandlers: Handlers<keyof typeof soakRoutes> = {
  async listSoaks({ ctx }, { query }) {
    return { soaks: await listSoaks(ctx, query) };
  },
  async listLabelRequests({ ctx }, { query }) {
    return { requests: await listLabelRequests(ctx, query) };
  },
  getLabelRequest: ({ ctx }, { params }) => getLabelRequest(ctx, params.request),
  answerLabelRequest: ({ ctx }, { params, body }) =>
    answerLabelRequest(ctx, params.request, body.label),
};
