/** What the demo's operator does through the API: import, compress, measure, roll out, look. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { StageOrder } from "../../shared/api/stages.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { type Api, goldenFiles } from "../fleet/api.ts";
import type { LocalFleet } from "../fleet/local-fleet.ts";
import { waitFor } from "../fleet/programs.ts";
import {
  type AttemptView,
  type ChoiceView,
  choiceView,
  type DeviceView,
  deviceView,
  jobView,
  type RegionView,
  type RolloutView,
  regionView,
  rolloutView,
  type VariantView,
  variantView,
} from "./views.ts";

/** Longest wait for a compression or rollout on a busy machine. */
export const longWaitMs = 240_000;

export async function importVersion(
  api: Api,
  options: {
    model: string;
    version: string;
    onnx: Uint8Array;
    goldenManifestPath: string;
    interface?: ModelInterface;
  },
): Promise<void> {
  const files: Record<string, string> = {};
  for (const { name, bytes } of goldenFiles(options.goldenManifestPath)) {
    files[name] = await api.upload(bytes);
  }
  await api.post(`/v1/models/${options.model}/versions`, {
    version: options.version,
    sourceSha256: await api.upload(options.onnx),
    golden: { manifest: "golden.json", files },
    ...(options.interface === undefined ? {} : { interface: options.interface }),
  });
}

/** Compresses one version and waits; answers every variant. */
export async function compress(
  api: Api,
  model: string,
  version: string,
  onProgress: (fraction: number, message: string) => void,
  recipes?: readonly string[],
): Promise<VariantView[]> {
  const base = `/v1/models/${model}/versions/${version}`;
  const { id } = jobView.pick({ id: true }).parse(await api.post(`${base}/compress`, { recipes }));
  await waitFor(
    `compression of ${model} ${version}`,
    async () => {
      const job = jobView.parse(await api.get(`/v1/jobs/${id}`));
      onProgress(job.progressFraction, job.message);
      if (job.status === "failed") throw new Error(job.error?.message ?? "the job failed");
      return job.status === "done" ? true : undefined;
    },
    { timeoutMs: longWaitMs },
  );
  const answer = z.object({ variants: z.array(variantView) });
  return answer.parse(await api.get(`${base}/variants`)).variants;
}

/** Benchmarks the variants on a device of each class and waits for one choice per class. */
export async function measure(api: Api, model: string, version: string): Promise<ChoiceView[]> {
  const base = `/v1/models/${model}/versions/${version}`;
  await api.post(`${base}/measurements`);
  const measurements = z.object({ measurements: z.array(z.object({ status: z.string() })) });
  await waitFor(
    `measurements of ${model} ${version}`,
    async () => {
      const answer = measurements.parse(await api.get(`${base}/measurements`)).measurements;
      return answer.length > 0 && answer.every(({ status }) => status !== "wanted")
        ? true
        : undefined;
    },
    { timeoutMs: longWaitMs },
  );
  const choices = z.object({ choices: z.array(choiceView) });
  return waitFor(
    `choices for ${model} ${version}`,
    async () => {
      const answer = choices.parse(await api.get(`${base}/choices`)).choices;
      return answer.length > 0 ? answer : undefined;
    },
    { timeoutMs: longWaitMs },
  );
}

export async function startRollout(
  api: Api,
  model: string,
  version: string,
  stages?: readonly StageOrder[],
): Promise<string> {
  // Nobody sits beside it to let the whole fleet follow.
  const gate = stages === undefined ? "automatic" : undefined;
  const answer = await api.post("/v1/rollouts", { model, version, stages, gate });
  return rolloutView.pick({ id: true }).parse(answer).id;
}

export async function rollout(api: Api, id: string): Promise<RolloutView> {
  return rolloutView.parse(await api.get(`/v1/rollouts/${id}`));
}

/** Waits until `when` holds for the rollout and its attempts. */
export async function waitForRollout(
  api: () => Api,
  id: string,
  what: string,
  when: (view: RolloutView) => boolean,
  { everyMs = 150, timeoutMs = longWaitMs } = {},
): Promise<RolloutView> {
  return waitFor(
    `rollout ${id}: ${what}`,
    async () => {
      const view = await rollout(api(), id);
      return when(view) ? view : undefined;
    },
    { timeoutMs, everyMs },
  );
}

export const allDecided = (attempts: readonly AttemptView[]): boolean =>
  attempts.length > 0 && attempts.every(({ status }) => status === "decided");

export async function devices(api: Api): Promise<DeviceView[]> {
  const answer = z.object({ devices: z.array(deviceView) });
  return answer.parse(await api.get("/v1/devices")).devices;
}

export async function regions(api: Api, model: string): Promise<RegionView[]> {
  const answer = z.object({ regions: z.array(regionView) });
  return answer.parse(await api.get(`/v1/telemetry/regions?model=${model}`)).regions;
}

/** Waits until `model` is served by every device as the last rollout left it. */
export async function waitForServing(
  fleet: LocalFleet,
  model: string,
  version: string,
): Promise<DeviceView[]> {
  return waitFor(
    `every device to serve ${model} ${version}`,
    async () => {
      const all = await devices(fleet.api());
      const settled = all.every((device) => {
        const state = device.models[model];
        return (
          device.online &&
          state?.committed?.version === version &&
          state.servingSha256 === state.committed.bundleSha256
        );
      });
      return settled ? all : undefined;
    },
    { timeoutMs: longWaitMs },
  );
}

export function readModel(url: URL): Uint8Array {
  return new Uint8Array(readFileSync(url));
}
