/**
 * Finds out what operators cost on this device: fetches the probes that a signed order names and times them
 * in a child process, while nothing else is tried here.
 *
 * Invariant: time and memory are bounded, whatever the probes hold.
 */
import { type CostOrder, verifyCostOrder } from "../../shared/artifact/cost-order.ts";
import { FleetError } from "../../shared/errors.ts";
import { runCostProbes } from "../../shared/inference/runner.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import { storedPath } from "../paths.ts";
import { raiseTimeFloor } from "../time.ts";
import { readMachine, unfitBetween } from "../trial/environment.ts";
import { expired } from "./admission.ts";
import type { UpdateParts } from "./executor.ts";
import { report, tryMeasuring } from "./measurement.ts";

/** Each half of a probe ends after a second, so this is for loading and a machine that does much else. */
const timeoutMs = 600_000;
/** The child took 190 MB with onnxruntime 1.30 on x86 (2026-12-01). */
const ramBytesMax = 400_000_000;

type Wanted = NonNullable<PayloadOf<"desired">["costs"]>;

/** Rejects with the reason of `stopping`, and then nothing was stored. */
export async function findCosts(
  parts: UpdateParts,
  { measurement, order }: Wanted,
  stopping: AbortSignal,
): Promise<void> {
  const { context, source } = parts;
  const { found, failure } = await tryMeasuring(parts, measurement, stopping, {
    async prepare() {
      const { probes } = admitted(context, order);
      await source.fetch(probes, stopping, () => {});
      return storedPath(context.dataDir, probes.sha256);
    },
    measure: (probesPath) => timed(context, probesPath),
  });
  report(parts, "cost-table", {
    measurement,
    fingerprint: context.fingerprint,
    emulated: context.emulated,
    ...(found ?? { table: null, environmentDegraded: false }),
    failure,
  });
}

/** Errors: `signature-invalid`, `costs-invalid`, `manifest-foreign`, `manifest-expired`. */
function admitted(context: AgentContext, document: unknown): CostOrder {
  const { identity } = context;
  const order = verifyCostOrder(document, identity.signingKeys);
  if (order.tenant !== identity.tenant || order.device !== identity.device) {
    throw new FleetError(
      "manifest-foreign",
      `the cost order is for ${order.tenant}/${order.device}`,
    );
  }
  raiseTimeFloor(context, order.issuedAtMs);
  const late = expired(context, order);
  if (late !== undefined) throw late;
  return order;
}

async function timed(context: AgentContext, probesPath: string) {
  const { files, processes, clock, profile } = context;
  const before = await readMachine(files, profile.cores);
  const memory = { files, ramBytesMax };
  const { table, isSteady } = await runCostProbes({
    ...{ processes, clock, memory, probesPath, timeoutMs },
  });
  const unfit = unfitBetween(before, await readMachine(files, profile.cores));
  return { table, environmentDegraded: !isSteady || unfit !== undefined };
}
