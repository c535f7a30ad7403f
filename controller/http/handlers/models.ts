/** Files, models, golden sets, variants, measurements and choices. */
import { z } from "zod";
import { jobSchema } from "../../../shared/api/routes/jobs.ts";
import {
  measurementSchema,
  type modelRoutes,
  variantSchema,
} from "../../../shared/api/routes/models.ts";
import { FleetError } from "../../../shared/errors.ts";
import { orderMissingCosts } from "../../measure/costs.ts";
import { listForetoldTimes } from "../../measure/foretold.ts";
import {
  listMeasurements,
  type MeasurementView,
  startMeasurements,
} from "../../measure/service.ts";
import { importVersion } from "../../models/import.ts";
import { listVariants } from "../../models/variants.ts";
import { listChoices } from "../../plan/service.ts";
import { recordBlobs } from "../../storage/blobs/repository.ts";
import { listGoldenSets, listShards } from "../../storage/golden/repository.ts";
import { listVersions, requireVersion } from "../../storage/models/repository.ts";
import type { Handlers } from "./handler.ts";

/** Longest upload, in bytes; ONNX files for devices are far below. */
const blobBytesMax = 2 ** 30;

export const modelHandlers: Handlers<keyof typeof modelRoutes> = {
  async putBlob({ ctx }, { params, body }) {
    const { sha256 } = params;
    const bytes = await ctx.blobs.putStream(body, { sha256, bytesMax: blobBytesMax });
    await recordBlobs(ctx.db, [{ sha256, bytes }], ctx.clock.wallMs());
    return { sha256, bytes };
  },
  importVersion: ({ ctx }, { params, body }) =>
    importVersion(ctx, { model: params.model, ...body }),
  async listModels({ ctx }) {
    const versions = await listVersions(ctx.db);
    const names = [...new Set(versions.map(({ model }) => model))];
    return {
      models: names.map((name) => ({
        name,
        versions: versions.filter(({ model }) => model === name),
      })),
    };
  },
  async getModel({ ctx }, { params }) {
    const versions = await listVersions(ctx.db, params.model);
    if (versions.length === 0) {
      throw new FleetError("not-found", `there is no model named ${params.model}`);
    }
    return { name: params.model, versions };
  },
  getVersion: ({ ctx }, { params }) => requireVersion(ctx.db, params.model, params.version),
  async compressVersion({ jobs }, { params, body }) {
    return jobSchema.parse(await jobs.startCompress({ ...params, ...body }));
  },
  async listVariants({ ctx }, { params }) {
    await requireVersion(ctx.db, params.model, params.version);
    return { variants: z.array(variantSchema).parse(await listVariants(ctx, params)) };
  },
  async startMeasurements({ ctx }, { params }) {
    await requireVersion(ctx.db, params.model, params.version);
    const started = await startMeasurements(ctx, params);
    const open = started.filter(({ status }) => status === "wanted");
    await orderMissingCosts(
      ctx,
      open.map(({ device }) => device),
    );
    return { measurements: started.map(measurementOf) };
  },
  async listMeasurements({ ctx }, { params }) {
    await requireVersion(ctx.db, params.model, params.version);
    return { measurements: (await listMeasurements(ctx, params)).map(measurementOf) };
  },
  async listChoices({ ctx }, { params }) {
    await requireVersion(ctx.db, params.model, params.version);
    return { choices: await listChoices(ctx, params) };
  },
  async listForetoldTimes({ ctx }, { params }) {
    await requireVersion(ctx.db, params.model, params.version);
    return { foretold: await listForetoldTimes(ctx, params) };
  },
  async listGoldenSets({ ctx }) {
    const sets = await listGoldenSets(ctx.db);
    const goldenSets = await Promise.all(
      sets.map(async ({ poolSha256, name, samples, metric, createdAtMs }) => {
        const shards = (await listShards(ctx.db, poolSha256)).length;
        return { poolSha256, name, samples, metric, shards, createdAtMs };
      }),
    );
    return { goldenSets };
  },
};

function measurementOf({ failureJson, ...row }: MeasurementView) {
  const failure: unknown = failureJson === null ? null : JSON.parse(failureJson);
  return measurementSchema.parse({ ...row, failure });
}
