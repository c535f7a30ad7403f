/**
 * One release to a small fleet under real traffic: canary with a soak, then everybody. Answers what became
 * of it, and what did not hold.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { imageBytes, loadMnist } from "../data/mnist.ts";
import { devices, rollout, startRollout, waitForRollout } from "../demo/operator.ts";
import type { RolloutView } from "../demo/views.ts";
import { markedImage } from "../models/misbehaviour.ts";
import type { FleetAgent, LocalFleet } from "./local-fleet.ts";
import { waitFor } from "./programs.ts";

export interface Release {
  readonly model: string;
  readonly version: string;
  /** Time that the canary is watched after its commit. */
  readonly soakMs: number;
  /** Gate, soak code or test that has to stop it; null for a good release. */
  readonly stoppedBy: string | null;
}

export interface ReleaseTry {
  readonly version: string;
  readonly tookMs: number;
  readonly status: string;
  readonly why: string;
  /** What did not hold; empty when the release ended as it should. */
  readonly faults: readonly string[];
}

/** Each so-manieth input is the marked one. */
const markedEvery = 1_000;
/** A camera's pace while the trial judges latency; after the commit as fast as it answers. */
const trialPauseMs = 50;
/** An answer that hangs is ended by the agent long before. */
const answerTimeoutMs = 30_000;
const settleTimeoutMs = 60_000;
/** A trial on a busy machine looks again after 5, 60 and 300 s. */
const endTimeoutMs = 600_000;

export async function tryRelease(fleet: LocalFleet, release: Release): Promise<ReleaseTry> {
  const [canary, ...rest] = fleet.agents;
  if (canary === undefined) throw new Error("a fleet has a canary");
  const { model, version, soakMs } = release;
  const before = await servedBy(fleet, canary, model);
  const startedMs = performance.now();
  const id = await startRollout(fleet.api(), model, version, [
    { name: "canary", select: { by: "devices", devices: [canary.device.id] }, soakMs },
    { name: "fleet", select: { by: "all" } },
  ]);
  const over = new AbortController();
  const pace = { pauseMs: trialPauseMs };
  const playing = play(canary, model, { signal: over.signal, pace });
  const hasEnded = ({ status, attempts }: RolloutView) => {
    if (attempts.some(({ outcome }) => outcome === "committed")) pace.pauseMs = 0;
    return status !== "running";
  };
  const ended = await waitForRollout(fleet.api, id, "its end", hasEnded, {
    everyMs: 500,
    timeoutMs: endTimeoutMs,
  })
    .catch(() => rollout(fleet.api(), id))
    .finally(() => over.abort());
  await playing;
  const faults =
    release.stoppedBy === null
      ? faultsOfGood(ended)
      : await faultsOfBad(fleet, { ended, canary, rest, release, before });
  return {
    version,
    tookMs: performance.now() - startedMs,
    status: ended.status,
    why: ended.reason ?? "",
    faults,
  };
}

function faultsOfGood(ended: RolloutView): string[] {
  const back = ended.attempts.filter(({ outcome }) => outcome === "rolled-back");
  const faults = back.map(({ device, why }) => `${device} rolled back: ${why}`);
  const known = ended.status === "completed" || ended.status === "awaiting-promotion";
  return known ? faults : [...faults, `it was ${ended.status}: ${ended.reason}`];
}

const soaksView = z.object({
  soaks: z.array(z.object({ verdict: z.string(), code: z.string() })),
});

async function faultsOfBad(
  fleet: LocalFleet,
  o: {
    ended: RolloutView;
    canary: FleetAgent;
    rest: readonly FleetAgent[];
    release: Release;
    before: string | null;
  },
): Promise<string[]> {
  const { ended, canary, rest, release, before } = o;
  const faults: string[] = [];
  if (ended.status !== "stopped") faults.push(`it was ${ended.status}: ${ended.reason}`);
  const tried = new Set(ended.attempts.map(({ device }) => device));
  for (const { device } of rest) if (tried.has(device.id)) faults.push(`${device.id} tried it`);
  const codes = ended.attempts.map(({ code }) => code);
  const { soaks } = soaksView.parse(await fleet.api().get(`/v1/soaks?rollout=${ended.id}`));
  for (const { verdict, code } of soaks) if (verdict === "rolled-back") codes.push(code);
  if (!codes.includes(release.stoppedBy)) faults.push(`the reason was ${codes.join(", ")}`);
  const served = await waitFor(
    "the canary to serve what it served before",
    async () => ((await servedBy(fleet, canary, release.model)) === before ? before : undefined),
    { timeoutMs: settleTimeoutMs },
  ).catch(() => undefined);
  if (served === undefined) faults.push("the canary does not serve what it served before");
  return faults;
}

async function servedBy(fleet: LocalFleet, { device }: FleetAgent, model: string) {
  const all = await devices(fleet.api());
  return all.find(({ id }) => id === device.id)?.models[model]?.servingSha256 ?? null;
}

/** Real digits one after the other, and now and then the marked image. */
async function play(
  { dataDir }: FleetAgent,
  model: string,
  { signal, pace }: { signal: AbortSignal; pace: { readonly pauseMs: number } },
): Promise<void> {
  const { test } = loadMnist();
  const marked = markedImage(imageBytes);
  for (let at = 0; !signal.aborted; at = (at + 1) % test.count) {
    const image =
      at % markedEvery === markedEvery - 1
        ? marked
        : test.images.subarray(at * imageBytes, (at + 1) * imageBytes);
    await send(dataDir, model, { image, signal }).catch(() => {});
    if (pace.pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pace.pauseMs));
  }
}

async function send(
  dataDir: string,
  model: string,
  { image, signal }: { image: Uint8Array; signal: AbortSignal },
): Promise<void> {
  const { url } = JSON.parse(readFileSync(join(dataDir, "serving.json"), "utf8")) as {
    url: string;
  };
  const response = await fetch(`${url}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { image: Buffer.from(image).toString("base64") } }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
  });
  await response.arrayBuffer();
}
